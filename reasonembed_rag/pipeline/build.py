"""Build a retriever over documents from its name: "bm25", "bm25-query-side", a model, or "hybrid:MODEL"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from reasonembed_rag.documents import Document
    from reasonembed_rag.encoder import EncoderSettings, EncodingProgress
    from reasonembed_rag.protocols import Embedder, Retriever

__all__ = ["RetrieverKind", "RetrieverName", "build_retriever", "parse_retriever"]

RetrieverKind = Literal["model", "bm25", "bm25-query-side", "hybrid"]

_HYBRID = "hybrid:"


@dataclass(frozen=True, slots=True)
class RetrieverName:
    """A parsed name; model is None for BM25 alone."""

    kind: RetrieverKind
    model: str | None = None


def parse_retriever(name: str, *, field: str = "retriever") -> RetrieverName:
    """Parse a retriever's name, loading nothing; raises InputError, naming the field, where a model is missing."""
    if name in {"bm25", "bm25-query-side"}:
        return RetrieverName("bm25" if name == "bm25" else "bm25-query-side")
    model = name.removeprefix(_HYBRID)
    if not model:
        raise InputError(f"{field} is {name!r}; want bm25, bm25-query-side, an embedding model or hybrid:MODEL")
    return RetrieverName("hybrid" if name.startswith(_HYBRID) else "model", model)


def build_retriever(
    name: str,
    documents: Sequence[Document],
    *,
    settings: EncoderSettings | None = None,
    instruction: str | None = None,
    cache: Path | None = None,
    progress: EncodingProgress | None = None,
    model_weight: float = 1.0,
    bm25_weight: float = 1.0,
) -> Retriever:
    """Return the retriever of this name over the documents, which are indexed or encoded when it returns.

    Models are shared in the process: settings are those of the model, but for its name. instruction, cache and progress
    are as in DenseRetriever. The weights are those of a hybrid, whose scores are fused. Raises InputError for a name
    without a model.
    """
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.retrieval import BM25, DenseRetriever

    parsed = parse_retriever(name)
    if parsed.model is None:
        return BM25(documents, variant="query-side" if parsed.kind == "bm25-query-side" else "bag-of-words")
    encoder: Embedder = shared_encoder(replace(settings or EncoderSettings(), model=parsed.model)).embedder
    dense = DenseRetriever(encoder, documents, instruction=instruction, cache=cache, progress=progress)
    dense.encode()
    if parsed.kind == "model":
        return dense
    from reasonembed_rag.pipeline.fusion import Fusion, Weighted

    return Fusion([Weighted(dense, model_weight), Weighted(BM25(documents), bm25_weight)])
