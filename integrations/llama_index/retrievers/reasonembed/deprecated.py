"""Names that are kept for one release."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.postprocessor.reasonembed import ReasonEmbedPostprocessor

from reasonembed_rag.deprecation import warn_deprecated
from reasonembed_rag.pipeline import HitFilter

__all__ = ["DefendedRetriever"]


def DefendedRetriever(base: BaseRetriever, *, defences: Sequence[HitFilter]) -> BaseRetriever:
    """Return `ReasonEmbedPostprocessor(filters=defences).around(base)`; deprecated."""
    warn_deprecated(
        "llama_index.retrievers.reasonembed.DefendedRetriever",
        "ReasonEmbedPostprocessor(filters=...).around(retriever) of llama_index.postprocessor.reasonembed",
    )
    return ReasonEmbedPostprocessor(filters=tuple(defences)).around(base)
