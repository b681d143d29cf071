"""Load a model by its settings: tokenizer, backbone and spec."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from reasonembed_rag.backbone.decoder_shape import read_shape
from reasonembed_rag.backbone.hub import find_model
from reasonembed_rag.backbone.kinds import is_decoder, is_natively_bidirectional, native_type
from reasonembed_rag.backbone.lora import Lora, read_lora
from reasonembed_rag.backbone.plain_decoder import PLAIN, PlainDecoder, read_plain_decoder
from reasonembed_rag.backbone.processor import emulates_bfloat16, warn_of_emulation
from reasonembed_rag.backbone.resolve_spec import check_adapter_spec
from reasonembed_rag.backbone.selfcheck import is_verified
from reasonembed_rag.backbone.source import ModelSource, find_source
from reasonembed_rag.backbone.tokenizer import TextTokenizer
from reasonembed_rag.backbone.torch_lora import merge_lora, module_shapes
from reasonembed_rag.errors import InputError, ModelError, want_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from transformers import PreTrainedModel

    from reasonembed_rag.backbone.settings import EncoderSettings
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["LoadedModel", "load_model"]

_logger = logging.getLogger(__name__)

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "int8": torch.float32}
"""Number format of the weights as loaded; int8 is quantised from float32 when the engine is built."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory."""

    spec: EmbeddingSpec
    tokenizer: TextTokenizer
    backbone: PreTrainedModel
    modules: nn.Module
    """What the packed forward is made of: the backbone, or bare modules around its weights."""
    pad_id: int
    folder: Path
    needs_own_mask: bool = False
    """Whether transformers would run this backbone causally although its attention is to be bidirectional."""
    adapters: Mapping[str, Lora] = field(default_factory=dict)
    adapter_specs: Mapping[str, EmbeddingSpec] = field(default_factory=dict)
    segments: bool = False
    """Whether ids hold token types; see SEGMENT."""


def load_model(
    settings: EncoderSettings, source: ModelSource | None = None, *, for_engine: bool = False
) -> LoadedModel:
    """Read a model folder or hub id into memory; `source` saves looking for it again.

    For an engine, decoders whose bare modules passed the self-check are loaded without transformers, and cannot be run
    but by the packed forward.

    Raises ModelError for a folder that is not a model or lacks weights, InputError for settings it does not support.
    """
    source = source or find_source(settings)
    facts = source.facts
    named = {name: find_model(adapter) for name, adapter in dict(settings.adapters).items()}
    device = _device(settings.device)
    dtype = _dtype(settings.dtype, device)
    spec = source.spec(dtype=dtype)
    fits = read_shape(facts.config) is not None
    if for_engine and fits and is_verified(spec, device=f"{device.type}{PLAIN}"):
        plain = read_plain_decoder(facts.transformer_folder, facts.config, dtype=_DTYPES[dtype], device=device)
        backbone = cast("PreTrainedModel", plain)
    else:
        backbone = _backbone(facts.transformer_folder, facts.config, dtype=_DTYPES[dtype], device=device)
    shapes = module_shapes(backbone)
    for path in source.merged:
        merge_lora(backbone, read_lora(path, name=path.name, shapes=shapes))
    tokenizer, pad_id = source.tokenizer(append_eos=spec.append_eos, vocabulary_size=_vocabulary_size(backbone))
    return LoadedModel(
        spec=spec,
        tokenizer=tokenizer,
        backbone=backbone,
        modules=_around(backbone, facts.config, folder=source.folder) if fits else backbone,
        pad_id=pad_id,
        folder=source.folder,
        needs_own_mask=_needs_own_mask(spec, facts.config),
        adapters={name: read_lora(path, name=name, shapes=shapes) for name, path in named.items()},
        adapter_specs={
            name: check_adapter_spec(name, source.spec(dtype=dtype, adapter=(name, path)), base=spec)
            for name, path in named.items()
        },
        segments=facts.segments,
    )


def _around(backbone: nn.Module, config: Mapping[str, Any], *, folder: Path) -> nn.Module:
    if isinstance(backbone, PlainDecoder):
        return backbone
    return PlainDecoder.around(config, backbone.state_dict(), folder=folder)


def _device(name: str | Sequence[str] | None) -> torch.device:
    if name is not None and not isinstance(name, str):
        raise InputError(f"device is {name!r}; want one device: several need an encoder")
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise InputError(f"device {name!r} cannot be used ({reason}); want None, 'cpu', 'cuda' or 'cuda:N'") from error
    return device


def _dtype(name: str, device: torch.device) -> str:
    if name == "auto":
        chosen = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
        _logger.info("dtype='auto' picked %s on %s", chosen, device)
        return chosen
    if name not in _DTYPES:
        raise InputError(f"dtype is {name!r}; {want_one_of(name, ('auto', *_DTYPES))}")
    if name == "int8" and device.type != "cpu":
        raise InputError(f"dtype is 'int8' on {device}; want it on a CPU, or bfloat16 here")
    if name == "bfloat16" and device.type == "cpu" and emulates_bfloat16():
        warn_of_emulation("want dtype='float32'")
    return name


def _backbone(folder: Path, config: dict[str, Any], *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging as transformers_logging

    bar = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()  # local files load quickly; downloads have their own bar
    transformers_logging.set_verbosity_error()  # missing weights are told below, those of a head are no news
    kind, renamed = native_type(config)
    try:
        settings: dict[str, Any] = {"config": AutoConfig.for_model(**{**config, "model_type": kind})} if renamed else {}
        if kind == "gemma2":  # in transformers 5.20 and older, the default of its attention leaves out the soft cap
            settings["attn_implementation"] = "eager"
        backbone, report = AutoModel.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **settings,
        )
    except StrictDataclassError as error:
        raise ModelError(f"{folder}/config.json: {' '.join(str(error).split())}") from error
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        if isinstance(error, KeyError):
            reason = f"transformers does not know {reason}"
        if "ignore_mismatched_sizes" in reason:  # transformers would suggest random weights
            reason = "its weights have other shapes than config.json gives"
        elif "custom code" in reason or "trust_remote_code" in reason:
            reason = f"transformers has no model_type {kind!r}, and the checkpoint's own code is never run"
        raise ModelError(f"{folder}: cannot be loaded ({reason}); want a transformers model in safetensors") from error
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
    if backbone.config.is_encoder_decoder:
        raise ModelError(f"{folder}: is an encoder-decoder model ({kind}); want an encoder or a decoder")
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ModelError(
            f"{folder}: {len(missing)} weights are missing, such as {missing[0]}; the download is incomplete"
        )
    ready: PreTrainedModel = backbone.eval().to(device)
    ready.requires_grad_(requires_grad=False)
    return ready


def _vocabulary_size(backbone: PreTrainedModel) -> int:
    weight = backbone.get_input_embeddings().weight
    if not isinstance(weight, torch.Tensor):
        raise ModelError(f"{type(backbone).__name__} has no embedding matrix; want a text model")
    return len(weight)


def _needs_own_mask(spec: EmbeddingSpec, config: Mapping[str, Any]) -> bool:
    return spec.attention == "bidirectional" and is_decoder(config) and not is_natively_bidirectional(config)
