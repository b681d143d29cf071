"""Load a model into the engine that runs it: ONNX Runtime or torch."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from reasonembed_rag.backbone import find_source, has_gpu, self_check_sequences, split_halfway, typical_sequences
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.graph import EncoderWeights, OnnxEngine, supports, thread_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.backbone import EncoderSettings, Engine, ModelSource, TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["LoadedEngine", "LoadedTokenStates", "ModelDescription", "load_engine", "load_token_states"]

_logger = logging.getLogger(__name__)

_FORMATS = {"auto": "float32", "float32": "float32", "int8": "int8"}
"""Number formats on ONNX Runtime by the dtype asked for."""


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


@dataclass(frozen=True, slots=True)
class LoadedTokenStates:
    """What computes the states of all tokens in this process, and the model that it runs."""

    run: Callable[[Sequence[NDArray[np.int32]], Sequence[int]], list[NDArray[np.float32]]]
    """Return the state (L, D) of every token of each sequence, of which only the first ones are attended to."""
    description: ModelDescription


def load_engine(settings: EncoderSettings, *, sharing: int = 1, source: ModelSource | None = None) -> LoadedEngine:
    """Load a model on one device of this process; `sharing` processes divide the cores among them.

    source holds the model's files where what they say was read by the caller.

    Raises ModelError for a model that cannot be loaded, InputError for settings that it does not support,
    MissingDependencyError for a model that needs torch where that is not installed.
    """
    if settings.device is not None and not isinstance(settings.device, str):
        raise InputError(f"device is {settings.device!r}; want one device: several need an encoder")
    source = source or find_source(settings)
    if _runs_on_onnx(settings, source):
        return _on_onnx(settings, source, sharing=sharing)
    return _on_torch(settings, source, sharing=sharing)


def load_token_states(settings: EncoderSettings, source: ModelSource) -> LoadedTokenStates:
    """Load a model on one device of this process for the states of all its tokens; raises what load_engine raises.

    On torch it runs through transformers' own forward, and not in int8.
    """
    if _runs_on_onnx(settings, source):
        description = (loaded := _on_onnx(settings, source, sharing=1)).description
        return LoadedTokenStates(cast("OnnxEngine", loaded.engine).token_states, description)
    if settings.dtype == "int8":
        raise InputError(f"dtype is 'int8', which {settings.model} has on ONNX Runtime only here; want float32")
    import torch

    from reasonembed_rag.backbone import load_model
    from reasonembed_rag.encoder.local import padded_forward

    model = load_model(settings, source)
    description = ModelDescription(model.spec, model.tokenizer, device=str(model.backbone.device))
    return LoadedTokenStates(torch.inference_mode()(padded_forward(model).token_states), description)


def _runs_on_onnx(settings: EncoderSettings, source: ModelSource) -> bool:
    """Return which engine runs a model; raises InputError or MissingDependencyError where none can."""
    reason = _why_torch(settings, source)
    if reason is None:
        return True
    if settings.backend == "onnx":
        raise InputError(f"backend is 'onnx', which {settings.model} cannot use: {reason}; want backend='torch'")
    if not _has_torch():
        raise MissingDependencyError(f"torch, which {settings.model} needs ({reason}),", "torch")
    return False


def _why_torch(settings: EncoderSettings, source: ModelSource) -> str | None:
    """Return why a model runs on torch; None if it runs on ONNX Runtime."""
    checks: tuple[Callable[[], str | None], ...] = (
        lambda: "backend is 'torch'" if settings.backend == "torch" else None,
        lambda: "its adapters are chosen per call" if settings.adapters else None,
        lambda: f"device is {settings.device!r}" if settings.device not in {None, "cpu"} else None,
        lambda: f"dtype is {settings.dtype!r}" if settings.dtype not in _FORMATS else None,
        lambda: None if _has_onnx() else "onnx and onnxruntime are not installed",
        lambda: supports(source.facts.config),
        lambda: "it runs on the GPU" if settings.device is None and settings.backend == "auto" and has_gpu() else None,
    )
    return next((reason for check in checks if (reason := check()) is not None), None)


def _has_onnx() -> bool:
    return find_spec("onnxruntime") is not None and find_spec("onnx") is not None


def _has_torch() -> bool:
    return find_spec("torch") is not None and find_spec("transformers") is not None


def _on_onnx(settings: EncoderSettings, source: ModelSource, *, sharing: int) -> LoadedEngine:
    dtype = _FORMATS[settings.dtype]
    _logger.info("%s runs on ONNX Runtime; dtype=%r gives %s on cpu", settings.model, settings.dtype, dtype)
    spec = source.spec(dtype=dtype, backend="onnx")
    tokenizer, pad_id = source.tokenizer(
        append_eos=spec.append_eos, vocabulary_size=source.facts.config.get("vocab_size")
    )
    sample = functools.partial(self_check_sequences, tokenizer, spec)
    typical = functools.partial(typical_sequences, tokenizer, spec)
    segments = source.facts.segments
    weights = EncoderWeights(
        config=source.facts.config,
        tensors=source.tensors,
        digest=source.digest(),
        spec=spec,
        pad_id=pad_id,
        folder=source.folder,
        sample=(lambda: split_halfway(sample())) if segments else sample,
        typical=(lambda: split_halfway(typical())) if segments else typical,
        segments=segments,
        reference=functools.partial(_by_transformers, settings, source) if _has_torch() else None,
    )
    if sharing > 1:
        os.environ["OMP_NUM_THREADS"] = str(max(1, thread_count() // sharing))
    engine = OnnxEngine(weights, dtype=dtype)
    return LoadedEngine(engine, ModelDescription(spec, tokenizer, device="cpu"))


def _by_transformers(
    settings: EncoderSettings, source: ModelSource, sequences: Sequence[NDArray[np.int32]]
) -> NDArray[np.float32]:
    """Return vectors of sequences of token ids by transformers in float32, one at a time."""
    import torch

    from reasonembed_rag.backbone import load_model
    from reasonembed_rag.encoder.local import padded_forward

    exact = dataclasses.replace(settings, dtype="float32", backend="torch", device="cpu")
    forward = padded_forward(load_model(exact, source))
    with torch.inference_mode():
        vectors: NDArray[np.float32] = torch.cat([forward([ids]) for ids in sequences]).numpy()
    return vectors


def _on_torch(settings: EncoderSettings, source: ModelSource, *, sharing: int) -> LoadedEngine:
    import torch

    from reasonembed_rag.backbone import UnsupportedError, load_model
    from reasonembed_rag.encoder.local import LocalEngine

    torch.set_num_threads(max(1, torch.get_num_threads() // sharing))
    loaded = load_model(settings, source, for_engine=True)
    try:
        engine = LocalEngine(loaded)
    except UnsupportedError:  # a decoder that runs without transformers no more
        loaded = load_model(settings, source)
        engine = LocalEngine(loaded)
    description = ModelDescription(
        loaded.spec, loaded.tokenizer, loaded.adapter_specs, device=str(loaded.backbone.device)
    )
    return LoadedEngine(engine, description)
