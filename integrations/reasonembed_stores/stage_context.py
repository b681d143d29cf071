"""What the stages of a pipeline know of the index that they are around."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline import StageContext
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.retrieval import BM25
from reasonembed_stores.lexical import with_documents
from reasonembed_stores.retriever import IndexRetriever

__all__ = ["router_beside", "with_index"]


def with_index(context: StageContext, retriever: IndexRetriever) -> StageContext:
    """Return the context with the size of an index, the file of its router, and what opens other retrievers.

    Those are "bm25" over its documents, and other indexes by their folders; the retriever's filters hold for them too.
    """

    def opened(name: str) -> Retriever:
        if name == "bm25":
            return _StoredBM25(retriever)
        return IndexRetriever(name, filters=retriever.filters)

    router = None if retriever.folder is None else router_beside(retriever.folder)
    return replace(context, corpus_size=len(retriever.store), router=router, retrievers=opened)


class _StoredBM25:
    """BM25 over the documents of an index that satisfy its retriever's filters; hits carry them."""

    def __init__(self, retriever: IndexRetriever) -> None:
        self._store = retriever.store
        documents = tuple(self._store.documents(retriever.filters))
        self._bm25 = BM25(documents or [Document("none", "")])  # which no query finds

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        found = self._bm25.search(queries, k=k, excluded_ids=excluded_ids)
        return [with_documents(hits, self._store) for hits in found]

    def identity(self) -> str:
        return self._bm25.identity()


def router_beside(index: Path) -> Path:
    """Return the file of the router of an index, which lies beside its folder."""
    return index.with_name(f"{index.name}.router.json")
