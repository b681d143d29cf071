"""Stores of documents with their vectors behind one protocol, free of any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_stores.checks import check_k
    from reasonembed_stores.chroma_store import ChromaStore
    from reasonembed_stores.engines import CACHE_BYTES, Engine, ModelChoice, get_engine, server_of, share_embedder
    from reasonembed_stores.faiss_store import FaissStore
    from reasonembed_stores.filters import Condition, Filter, FilterLike, Group, parse_filter
    from reasonembed_stores.indexing import IndexReport, Progress, build_index, is_unfinished
    from reasonembed_stores.mmr import search_mmr, select_mmr
    from reasonembed_stores.readers import SUFFIXES, FileCorpus, TextSplitter, load_splitter
    from reasonembed_stores.searcher import Question, Searcher
    from reasonembed_stores.store import Hit, Store

__all__ = [
    "CACHE_BYTES",
    "SUFFIXES",
    "ChromaStore",
    "Condition",
    "Engine",
    "FaissStore",
    "FileCorpus",
    "Filter",
    "FilterLike",
    "Group",
    "Hit",
    "IndexReport",
    "ModelChoice",
    "Progress",
    "Question",
    "Searcher",
    "Store",
    "TextSplitter",
    "build_index",
    "check_k",
    "get_engine",
    "is_unfinished",
    "load_splitter",
    "parse_filter",
    "search_mmr",
    "select_mmr",
    "server_of",
    "share_embedder",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "checks": ("check_k",),
        "chroma_store": ("ChromaStore",),
        "engines": ("CACHE_BYTES", "Engine", "ModelChoice", "get_engine", "server_of", "share_embedder"),
        "faiss_store": ("FaissStore",),
        "filters": ("Condition", "Filter", "FilterLike", "Group", "parse_filter"),
        "indexing": ("IndexReport", "Progress", "build_index", "is_unfinished"),
        "mmr": ("search_mmr", "select_mmr"),
        "readers": ("FileCorpus", "SUFFIXES", "TextSplitter", "load_splitter"),
        "searcher": ("Question", "Searcher"),
        "store": ("Hit", "Store"),
    },
)
