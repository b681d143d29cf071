"""The encoder of an index: its own model, or that model where it is now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag import EmbeddingSpec
    from reasonembed_rag.encoder import EncoderSettings, SharedEncoder
    from reasonembed_rag.protocols import Embedder

__all__ = ["encoder_of_index"]


def encoder_of_index(to: Path, model: str | None, *, cache: Path | None) -> SharedEncoder:
    """Return the encoder of an index, loaded at its first use; raises SpecMismatchError for another model's index."""
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_stores import index_spec

    spec = index_spec(to) if (to / "manifest.json").is_file() else None
    if spec is None:
        return shared_encoder(EncoderSettings(model=model or "default", cache=cache))
    settings = EncoderSettings(model=spec.model, revision=spec.revision, adapter=spec.adapter, cache=cache)
    may_differ = Path(spec.model).is_dir() or spec.model == "default"  # new weights may have come since
    if model is not None and model != spec.model:
        settings, may_differ = EncoderSettings(model=model, cache=cache), True
    if may_differ:
        _check_model(to, settings)
    return _truncated(settings, spec)


def _check_model(to: Path, settings: EncoderSettings) -> None:
    """Raise SpecMismatchError unless a model, which may have moved, is the index's own; no weights are loaded."""
    from reasonembed_rag.backbone import read_spec
    from reasonembed_stores import FaissStore

    spec = read_spec(settings)
    with FaissStore.open(to) as store:
        store.check_spec(replace(spec, dimension=min(spec.dimension, store.dimension or spec.dimension)))


def _truncated(settings: EncoderSettings, spec: EmbeddingSpec) -> SharedEncoder:
    """Return an encoder whose vectors are as long as those of an index."""
    from reasonembed_rag.encoder import SharedEncoder, shared_encoder

    def load() -> Embedder:
        encoder = shared_encoder(settings)
        if spec.dimension < encoder.dimension:
            encoder = shared_encoder(replace(settings, truncate_dim=spec.dimension))
        return encoder.embedder

    return SharedEncoder(load, settings=settings)
