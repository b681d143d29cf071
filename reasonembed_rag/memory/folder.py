"""Latent models on disk: one safetensors file with the trained rows and matrices, and one JSON file that names it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from reasonembed_rag.backbone import (
    EncoderSettings,
    find_source,
    load_model,
    make_fast,
    make_live,
    read_json,
    read_tensors,
)
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.files import delete_abandoned, plain_record, record_from, replacing, write_text
from reasonembed_rag.memory.chat_format import ChatFormat, read_chat_format
from reasonembed_rag.memory.model import LatentModel
from reasonembed_rag.memory.settings import LatentSettings
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    from torch import Tensor

    from reasonembed_rag.backbone import ModelSource, TextTokenizer

__all__ = ["LATENT_CONFIG", "LoadedLatent", "create_latent", "is_latent_folder", "load_latent", "save_latent"]

_logger = logging.getLogger(__name__)

LATENT_CONFIG = "latent.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentRecord:
    """What latent.json says."""

    format: int
    weights: str
    """Name of the safetensors file beside it."""
    backbone: str
    revision: str | None
    adapter: str | None
    fingerprint: str
    """weights_fingerprint of the backbone that was trained on."""
    settings: LatentSettings
    spec: Mapping[str, Any]
    """Templates and lengths that were trained with; see EmbeddingSpec."""


@dataclass(frozen=True, slots=True)
class LoadedLatent:
    """A latent model in memory, with its tokenizer and the spec of its vectors."""

    model: LatentModel
    tokenizer: TextTokenizer
    spec: EmbeddingSpec
    """Mean-pooled over the latents; `weights` is the fingerprint of `fingerprint`."""
    backbone: EncoderSettings
    backbone_fingerprint: str
    chat_format: ChatFormat
    ends: frozenset[int]
    """Tokens that end an answer: the tokenizer's end token, and those that the checkpoint names for generation."""

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with the backbone's weights, any trained part and documents' template."""
        digest = hashlib.blake2b(self.backbone_fingerprint.encode(), digest_size=16)
        settings = self.model.settings
        digest.update(json.dumps([settings.latents, settings.alpha, self.spec.document_template]).encode())
        for name, one in sorted(self.model.trained().items()):
            digest.update(f"{name}{tuple(one.shape)}".encode())
            digest.update(one.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def create_latent(
    backbone: EncoderSettings, settings: LatentSettings, *, seed: int = 0, live: bool = True
) -> LoadedLatent:
    """Load a backbone and put untrained latents on it; `live` for training, else for inference.

    The backbone is frozen; unfreeze it to train it as well, which save_latent does not store. Raises InputError for an
    encoder and for a decoder with bidirectional attention, ModelError for what load_model refuses and for a checkpoint
    without an output matrix.
    """
    source = find_source(backbone)
    loaded = load_model(backbone, source)
    if loaded.spec.attention != "causal":
        raise InputError(
            f"{backbone.model}: attends bidirectionally, so that latents behind a text would change it; want a causal "
            "decoder such as Qwen/Qwen3-0.6B"
        )
    make = make_live if live else make_fast
    model = LatentModel(loaded.backbone, _head(source, loaded.backbone), settings, seed=seed, make=make)
    model.check_backbone()
    spec = dataclasses.replace(loaded.spec, pooling="mean", pool_prompt=True, normalize=True)
    checkpoint = source.facts.transformer_folder
    made = LoadedLatent(
        model,
        loaded.tokenizer,
        _within_positions(spec, model, told=backbone.max_query_length or backbone.max_document_length),
        backbone,
        loaded.spec.weights or "",
        read_chat_format(checkpoint),
        _ends(checkpoint, loaded.tokenizer.eos_id),
    )
    return _fingerprinted(made)


def save_latent(latent: LoadedLatent, folder: Path) -> None:
    """Write the trained parts of a model to a folder, atomically: a reader sees the old model or the new one."""
    from safetensors.torch import save

    tensors = {name: one.detach().float().cpu().contiguous() for name, one in latent.model.trained().items()}
    content = save(tensors, metadata={"format": "pt"})
    name = f"latent-{hashlib.blake2b(content, digest_size=8).hexdigest()}.safetensors"
    record = LatentRecord(
        format=_FORMAT,
        weights=name,
        backbone=str(local.absolute()) if (local := Path(latent.backbone.model)).is_dir() else latent.backbone.model,
        revision=latent.backbone.revision,
        adapter=latent.backbone.adapter,
        fingerprint=latent.backbone_fingerprint,
        settings=latent.model.settings,
        spec=json.loads(latent.spec.to_json()),
    )
    delete_abandoned(folder, "latent-*")
    with replacing(folder / name) as file:
        file.write(content)
    write_text(json.dumps(plain_record(record), ensure_ascii=False, indent=2) + "\n", folder / LATENT_CONFIG)
    for path in folder.glob("latent-*.safetensors"):
        if path.name != name:
            path.unlink()


def is_latent_folder(folder: Path) -> bool:
    """Return whether a folder holds a latent model."""
    return (folder / LATENT_CONFIG).is_file()


def load_latent(
    folder: Path,
    *,
    backbone: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    live: bool = False,
) -> LoadedLatent:
    """Load what save_latent wrote; `backbone` says where its backbone is now, by default where it was.

    Raises ModelError for a folder that is not one, damaged or incomplete, and for another backbone than it was trained
    on.
    """
    if not is_latent_folder(folder):
        raise ModelError(f"{folder}: no {LATENT_CONFIG}; want a folder that `reasonembed train run` wrote for [latent]")
    record = record_from(
        LatentRecord, read_json(folder / LATENT_CONFIG), where=str(folder / LATENT_CONFIG), error=ModelError
    )
    if record.format != _FORMAT:
        raise ModelError(f"{folder}: format {record.format}; want {_FORMAT}: use the version that wrote it")
    settings = EncoderSettings(
        model=backbone or record.backbone,
        revision=record.revision if backbone is None else None,
        adapter=record.adapter,
        device=device,
        dtype=dtype,
    )
    if backbone is None and (gone := Path(record.backbone)).is_absolute() and not gone.exists():
        raise ModelError(
            f"{folder}: its backbone was {gone}, which is gone; say where it is now: backbone=, --backbone"
        )
    latent = create_latent(settings, record.settings, live=live)
    if latent.backbone_fingerprint != record.fingerprint:
        raise ModelError(
            f"{folder}: was trained on weights {record.fingerprint} ({record.backbone}), got "
            f"{latent.backbone_fingerprint} ({settings.model}); want the backbone that it was trained on"
        )
    _fill(latent.model, folder / record.weights)
    stored = EmbeddingSpec.from_json(json.dumps(dict(record.spec)))
    stored = dataclasses.replace(stored, model=str(folder), dtype=latent.spec.dtype)
    spec = _within_positions(stored, latent.model, told=True)
    return _fingerprinted(dataclasses.replace(latent, spec=spec))


def _within_positions(spec: EmbeddingSpec, model: LatentModel, *, told: object) -> EmbeddingSpec:
    """Return a spec whose texts leave positions for the latents behind them, and for a memory before a document.

    Lengths that somebody chose (`told`) are not lowered silently; the defaults are whatever fits. Raises InputError for
    more latents than leave room for a text.
    """
    if model.positions is None:
        return spec
    k = model.settings.latents
    query, document = model.positions - k, model.positions - 2 * k
    if document < 1:
        most = (model.positions - 1) // 2
        raise InputError(f"{spec.model}: has {model.positions} positions, and latents is {k}; want at most {most}")
    fitting = dataclasses.replace(
        spec,
        max_query_length=min(spec.max_query_length, query),
        max_document_length=min(spec.max_document_length, document),
    )
    if told and fitting != spec:
        _logger.warning(
            "%s: reads queries of at most %d and documents of at most %d tokens, not %d and %d: its %d positions must "
            "hold %d latents behind a text, and a memory before a document",
            spec.model,
            fitting.max_query_length,
            fitting.max_document_length,
            spec.max_query_length,
            spec.max_document_length,
            model.positions,
            k,
        )
    return fitting


def _ends(checkpoint: Path, known: int | None) -> frozenset[int]:
    """Return the end tokens: `known`, and what config.json and generation_config.json say."""
    found = set() if known is None else {known}
    for name in ("config.json", "generation_config.json"):
        path = checkpoint / name
        said = read_json(path).get("eos_token_id") if path.is_file() else None
        found.update(one for one in (said if isinstance(said, list) else [said]) if isinstance(one, int))
    return frozenset(found)


def _fingerprinted(latent: LoadedLatent) -> LoadedLatent:
    return dataclasses.replace(latent, spec=dataclasses.replace(latent.spec, weights=latent.fingerprint))


@torch.no_grad()
def _fill(model: LatentModel, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged or missing ({error}); copy the folder again") from error
    wanted = model.trained()
    if differ := sorted(wanted.keys() ^ tensors.keys()):
        raise ModelError(f"{path}: {differ[0]} is missing or unknown; {LATENT_CONFIG} belongs to another file")
    for name, one in wanted.items():
        if one.shape != tensors[name].shape or not bool(torch.isfinite(tensors[name]).all()):
            raise ModelError(
                f"{path}: {name} is {tuple(tensors[name].shape)}; want finite numbers of shape {tuple(one.shape)}"
            )
        one.copy_(tensors[name])


def _head(source: ModelSource, backbone: Any) -> Tensor:
    """Return the output matrix (V, D): the checkpoint's own, or the embedding where the two are tied."""
    embedding = cast("Tensor", backbone.get_input_embeddings().weight)
    found = read_tensors(source.facts.transformer_folder, names={"lm_head.weight"}).get("lm_head.weight")
    if found is not None:
        return torch.tensor(found).to(embedding.device, embedding.dtype)
    if not getattr(backbone.config, "tie_word_embeddings", False):
        raise ModelError(
            f"{source.settings.model}: has no lm_head.weight and does not tie it to the embedding, so that it cannot "
            "generate; want the checkpoint of a causal language model"
        )
    return embedding
