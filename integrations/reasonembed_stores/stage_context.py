"""What the stages of a pipeline know of the index that they are around."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reasonembed_rag.pipeline import StageContext
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import BM25
from reasonembed_stores.retriever import IndexRetriever

__all__ = ["router_beside", "with_index"]


def with_index(context: StageContext, retriever: IndexRetriever) -> StageContext:
    """Return the context with the size of an index, the file of its router, and what opens other retrievers.

    Those are "bm25" over its documents, and other indexes by their folders.
    """

    def opened(name: str) -> Retriever:
        return BM25(tuple(retriever.store)) if name == "bm25" else IndexRetriever(name)

    router = None if retriever.folder is None else router_beside(retriever.folder)
    return replace(context, corpus_size=len(retriever.store), router=router, retrievers=opened)


def router_beside(index: Path) -> Path:
    """Return the file of the router of an index, which lies beside its folder."""
    return index.with_name(f"{index.name}.router.json")
