"""Stores of documents with their vectors behind one protocol, free of any framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_stores.batch import check_columns
    from reasonembed_stores.checks import check_k
    from reasonembed_stores.chroma_store import ChromaStore
    from reasonembed_stores.citations import HasMetadata, Origin, citation, origin_of
    from reasonembed_stores.deleting import Deletion
    from reasonembed_stores.enrichment import EnrichmentReport, enrichment_answers
    from reasonembed_stores.exporting import exported_lines
    from reasonembed_stores.faiss_store import FaissStore
    from reasonembed_stores.filters import Condition, Filter, FilterLike, Group, parse_filter
    from reasonembed_stores.hybrid import (
        BM25_WEIGHT,
        FUSION_DEPTH,
        HybridHits,
        HybridSearch,
        check_bm25_weight,
        fused,
    )
    from reasonembed_stores.ignoring import ListingOptions
    from reasonembed_stores.index_options import is_unfinished
    from reasonembed_stores.index_report import BadFile, FilesReport, IndexReport, LeftOut
    from reasonembed_stores.indexing import build_index
    from reasonembed_stores.inspection import IndexedSource, IndexedSources, IndexInfo, indexed_sources, inspect_index
    from reasonembed_stores.lexical import LexicalSearch, keep_bm25, with_documents
    from reasonembed_stores.metadata import plain_metadata
    from reasonembed_stores.mmr import search_mmr, select_mmr
    from reasonembed_stores.opening import index_spec, open_store
    from reasonembed_stores.readers import FileCorpus, load_splitter
    from reasonembed_stores.retriever import IndexModel, IndexRetriever
    from reasonembed_stores.shards import index_vectors, load_vectors
    from reasonembed_stores.sharing import open_shared
    from reasonembed_stores.splitting import TextSplitter
    from reasonembed_stores.stage_context import router_beside, with_index
    from reasonembed_stores.staged import PipelineLike, StagedHits, StagedIndex, StageNames
    from reasonembed_stores.store import Store
    from reasonembed_stores.windows import Progress

__all__ = [
    "BM25_WEIGHT",
    "FUSION_DEPTH",
    "BadFile",
    "ChromaStore",
    "Condition",
    "Deletion",
    "EnrichmentReport",
    "FaissStore",
    "FileCorpus",
    "FilesReport",
    "Filter",
    "FilterLike",
    "Group",
    "HasMetadata",
    "HybridHits",
    "HybridSearch",
    "IndexInfo",
    "IndexModel",
    "IndexReport",
    "IndexRetriever",
    "IndexedSource",
    "IndexedSources",
    "LeftOut",
    "LexicalSearch",
    "ListingOptions",
    "Origin",
    "PipelineLike",
    "Progress",
    "StageNames",
    "StagedHits",
    "StagedIndex",
    "Store",
    "TextSplitter",
    "build_index",
    "check_bm25_weight",
    "check_columns",
    "check_k",
    "citation",
    "enrichment_answers",
    "exported_lines",
    "fused",
    "index_spec",
    "index_vectors",
    "indexed_sources",
    "inspect_index",
    "is_unfinished",
    "keep_bm25",
    "load_splitter",
    "load_vectors",
    "open_shared",
    "open_store",
    "origin_of",
    "parse_filter",
    "plain_metadata",
    "router_beside",
    "search_mmr",
    "select_mmr",
    "with_documents",
    "with_index",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    renamed={
        "SUFFIXES": "reasonembed_readers.SUFFIXES",
        "Engine": "reasonembed_rag.encoder.SharedEncoder",
        "Hit": "reasonembed_rag.Hit",
        "ModelChoice": "reasonembed_rag.encoder.EncoderSettings",
        "get_engine": "reasonembed_rag.encoder.shared_encoder",
        "share_embedder": "reasonembed_rag.encoder.share_embedder",
    },
)
