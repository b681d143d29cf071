"""Stages that find documents for queries, behind one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.retrieval.analyzer import STOP_WORDS, EnglishAnalyzer
    from reasonembed_rag.retrieval.bm25 import BM25
    from reasonembed_rag.retrieval.callable import CallableRetriever, hits_in_order, keep
    from reasonembed_rag.retrieval.dense import EmbedderRetriever, EmbeddingFunctions

__all__ = [
    "BM25",
    "STOP_WORDS",
    "CallableRetriever",
    "EmbedderRetriever",
    "EmbeddingFunctions",
    "EnglishAnalyzer",
    "hits_in_order",
    "keep",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "analyzer": ("EnglishAnalyzer", "STOP_WORDS"),
        "bm25": ("BM25",),
        "callable": ("CallableRetriever", "hits_in_order", "keep"),
        "dense": ("EmbedderRetriever", "EmbeddingFunctions"),
    },
)
