"""A model's name to what the engine needs: tokenizer, backbone and spec."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from reasonembed_rag.encoder.adapters import adapter_base, merge_lora, read_lora
from reasonembed_rag.encoder.fingerprint import fingerprint
from reasonembed_rag.encoder.folder import FolderFacts, read_folder
from reasonembed_rag.encoder.sources import find_model
from reasonembed_rag.encoder.tokens import TextTokenizer
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_rag.tasks import DEFAULT_INSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

__all__ = ["LoadedModel", "Request", "load_model"]

_logger = logging.getLogger(__name__)

_DECODERS = {"gemma", "gemma2", "gemma3_text", "llama", "mistral", "mistral3", "phi3", "qwen2", "qwen3"}
_REASON_EMBED_TEMPLATE = "Instruct: {instruction}\nQuery: {text}"
_LONGEST = 8192
"""Tokens a text by default where a decoder could take more (ReasonEmbed's own limit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked of a model; None leaves it to the files."""

    model: str
    revision: str | None = None
    adapter: str | None = None
    device: str | None = None
    dtype: str = "auto"
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory."""

    spec: EmbeddingSpec
    tokenizer: TextTokenizer
    backbone: PreTrainedModel
    pad_id: int
    folder: Path


def load_model(request: Request) -> LoadedModel:
    """Read a model folder or hub id into memory.

    Raises ModelError for a folder that is not a model or lacks weights, InputError for settings it cannot serve.
    """
    from transformers import AutoTokenizer

    folder, adapter_folders = _folders(request)
    facts = read_folder(folder)
    device, dtype = _device(request.device), _dtype(request.dtype, request.device)
    backbone = _backbone(facts.transformer_folder, dtype=dtype, device=device)
    for adapter_folder in adapter_folders:
        merge_lora(backbone, read_lora(adapter_folder, name=adapter_folder.name, backbone=backbone))
    spec = _spec(request, facts, folders=[folder, *adapter_folders], dtype=str(dtype).removeprefix("torch."))
    tokenizer = AutoTokenizer.from_pretrained(facts.transformer_folder, local_files_only=True)
    text_tokenizer = TextTokenizer(
        tokenizer.backend_tokenizer,
        eos_id=tokenizer.eos_token_id,
        append_eos=spec.append_eos,
        vocabulary_size=len(_embedding(backbone)),
    )
    return LoadedModel(spec, text_tokenizer, backbone, tokenizer.pad_token_id or 0, folder)


def _folders(request: Request) -> tuple[Path, list[Path]]:
    """Return the folder of the backbone and those of the adapters on it, the model itself being one perhaps."""
    folder = find_model(request.model, revision=request.revision)
    adapters = [find_model(request.adapter)] if request.adapter is not None else []
    base = adapter_base(folder)
    if base is None or (folder / "config.json").is_file():
        return folder, adapters
    return find_model(base), [folder, *adapters]


def _embedding(backbone: PreTrainedModel) -> torch.Tensor:
    weight = backbone.get_input_embeddings().weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError(f"{type(backbone).__name__} has no embedding matrix; want a text model")
    return weight


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); want None, 'cpu', 'cuda' or 'cuda:N'") from error
    return device


def _dtype(name: str, device: str | None) -> torch.dtype:
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name != "auto":
        if name not in named:
            raise InputError(f"dtype is {name!r}; want auto, {', '.join(named)}")
        return named[name]
    on_gpu = _device(device).type == "cuda"
    chosen = torch.bfloat16 if on_gpu and torch.cuda.is_bf16_supported() else torch.float32
    _logger.info("dtype='auto' picked %s on %s", chosen, "cuda" if on_gpu else "this device")
    return chosen


def _backbone(folder: Path, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # a local file loads in no time; a download has a bar of its own
    try:
        backbone, report = AutoModel.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: cannot be loaded ({reason}); want a transformers model in safetensors") from error
    finally:
        if bar:
            transformers_logging.enable_progress_bar()
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing, such as {missing[0]}; the download is incomplete"
        )
    ready: PreTrainedModel = backbone.eval().to(device)
    ready.requires_grad_(requires_grad=False)
    return ready


def _spec(request: Request, facts: FolderFacts, *, folders: Sequence[Path], dtype: str) -> EmbeddingSpec:
    written = [folder / "spec.json" for folder in folders if (folder / "spec.json").is_file()]
    if written:  # the last adapter's word counts most
        spec = EmbeddingSpec.from_json(written[-1].read_text(encoding="utf-8"))
    else:
        spec = _spec_of_facts(request.model, facts)
    longest = _positions(facts.config)
    weights = [path for folder in (facts.transformer_folder, *folders[1:]) for path in folder.glob("*.safetensors")]
    return dataclasses.replace(
        spec,
        model=request.model,
        revision=request.revision,
        adapter=request.adapter,
        weights=fingerprint(weights),
        max_query_length=_within("max_query_length", request.max_query_length, spec.max_query_length, longest),
        max_document_length=_within(
            "max_document_length", request.max_document_length, spec.max_document_length, longest
        ),
        dimension=_within("truncate_dim", request.truncate_dim, spec.dimension, spec.dimension),
        dtype=dtype,
    )


def _within(name: str, asked: int | None, default: int, most: int) -> int:
    chosen = default if asked is None else asked
    if not 1 <= chosen <= most:
        raise InputError(f"{name} is {chosen}; want 1 to {most}, which is what the model has")
    return chosen


def _spec_of_facts(model: str, facts: FolderFacts) -> EmbeddingSpec:
    config = facts.config
    decoder = config.get("model_type") in _DECODERS
    length = min(facts.max_length or _positions(config), _positions(config), _LONGEST)
    template = facts.query_template or (_REASON_EMBED_TEMPLATE if decoder and not facts.pooling else "{text}")
    instruction = facts.default_instruction or DEFAULT_INSTRUCTION
    return EmbeddingSpec(
        model=model,
        pooling=facts.pooling or ("last" if decoder else "mean"),
        attention="causal" if decoder and config.get("is_causal", True) else "bidirectional",
        query_template=template,
        document_template=facts.document_template or "{text}",
        default_instruction=instruction if "{instruction}" in template else None,
        max_query_length=length,
        max_document_length=length,
        normalize=True if facts.normalize is None else facts.normalize,
        dimension=config["hidden_size"],
    )


def _positions(config: dict[str, Any]) -> int:
    """Return how many tokens the model has positions for."""
    positions = int(config.get("max_position_embeddings", _LONGEST))
    if config.get("model_type") in {"roberta", "xlm-roberta", "camembert", "mpnet"}:
        positions -= int(config.get("pad_token_id") or 1) + 1  # their first position follows the padding's
    return positions
