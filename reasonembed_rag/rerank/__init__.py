"""Rerankers that are models: cross-encoders, yes/no decoders and late interaction, run by the encoder's engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.rerank.cross_encoder import CrossEncoder
    from reasonembed_rag.rerank.late_interaction import LateInteraction
    from reasonembed_rag.rerank.late_retriever import LateInteractionRetriever
    from reasonembed_rag.rerank.token_vectors import TokenVectors, max_similarity
    from reasonembed_rag.rerank.yes_no import YesNoReranker

__all__ = [
    "CrossEncoder",
    "LateInteraction",
    "LateInteractionRetriever",
    "TokenVectors",
    "YesNoReranker",
    "max_similarity",
]

__getattr__, __dir__ = lazy_face(__name__)
