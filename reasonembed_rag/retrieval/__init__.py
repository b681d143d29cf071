"""Retrievers over documents in memory: BM25, dense, and any function; and exact search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.retrieval.analyzer import STOP_WORDS, Analyzer, EnglishAnalyzer
    from reasonembed_rag.retrieval.bm25 import BM25
    from reasonembed_rag.retrieval.bm25_file import has_bm25, read_bm25, write_bm25
    from reasonembed_rag.retrieval.callable import CallableRetriever, hits_in_order, keep
    from reasonembed_rag.retrieval.dense import DenseRetriever, EmbeddingFunctions
    from reasonembed_rag.retrieval.exact import (
        ROUNDING,
        ExactIndex,
        TopRows,
        exact_scores,
        exact_search,
        top_candidates,
        top_rows,
        unit_rows,
    )
    from reasonembed_rag.retrieval.grams import GramAnalyzer
    from reasonembed_rag.retrieval.tokens import TokenMeter

__all__ = [
    "BM25",
    "ROUNDING",
    "STOP_WORDS",
    "Analyzer",
    "CallableRetriever",
    "DenseRetriever",
    "EmbeddingFunctions",
    "EnglishAnalyzer",
    "ExactIndex",
    "GramAnalyzer",
    "TokenMeter",
    "TopRows",
    "exact_scores",
    "exact_search",
    "has_bm25",
    "hits_in_order",
    "keep",
    "read_bm25",
    "top_candidates",
    "top_rows",
    "unit_rows",
    "write_bm25",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    renamed={"EmbedderRetriever": "DenseRetriever"},
)
