"""Load a model into the engine that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from reasonembed_rag.backbone import find_source
from reasonembed_rag.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from reasonembed_rag.backbone import EncoderSettings, Engine, ModelSource, TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["LoadedEngine", "ModelDescription", "load_engine"]


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What an encoder needs to know of its engine's model."""

    spec: EmbeddingSpec
    tokenizer: TextTokenizer
    adapter_specs: Mapping[str, EmbeddingSpec] = field(default_factory=dict)
    device: str | None = None
    """The device of an engine in this process; None for one on several."""


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """An engine in this process and the model that it runs."""

    engine: Engine
    description: ModelDescription


def load_engine(settings: EncoderSettings, *, sharing: int = 1) -> LoadedEngine:
    """Load a model on one device of this process; `sharing` processes divide the cores among them.

    Raises ModelError for a model that cannot be loaded, InputError for settings that it does not support,
    MissingDependencyError for a model that needs torch where that is not installed.
    """
    if settings.device is not None and not isinstance(settings.device, str):
        raise InputError(f"device is {settings.device!r}; want one device: several need an encoder")
    source = find_source(settings)
    if settings.backend == "onnx":
        raise InputError(f"backend is 'onnx', which {settings.model} cannot use; want backend='torch'")
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise MissingDependencyError(f"torch, which {settings.model} needs,", "torch")
    return _on_torch(settings, source, sharing=sharing)


def _on_torch(settings: EncoderSettings, source: ModelSource, *, sharing: int) -> LoadedEngine:
    import torch

    from reasonembed_rag.backbone import load_model
    from reasonembed_rag.encoder.local import LocalEngine

    torch.set_num_threads(max(1, torch.get_num_threads() // sharing))
    loaded = load_model(settings, source)
    description = ModelDescription(
        loaded.spec, loaded.tokenizer, loaded.adapter_specs, device=str(loaded.backbone.device)
    )
    return LoadedEngine(LocalEngine(loaded), description)
