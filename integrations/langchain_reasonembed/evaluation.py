"""LangChain components under evaluation, called as their users call them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langchain_core.documents import BaseDocumentCompressor
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from langchain_reasonembed.listening import Listener
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import DocumentNames, FoundText
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Retriever, Usage
from reasonembed_rag.retrieval import EmbeddingFunctions, keep

__all__ = ["as_retriever", "documents_in", "found_text", "holds_documents"]

_DOCUMENT_KEYS = ("context", "source_documents", "documents")
_NAME_KEYS = ("id", "document_id", "doc_id", "source")
_SCORE_KEYS = ("relevance_score", "reasonembed_score", "score")
"""A reranker's score, then that of our retriever; `score` may be a field of the user's."""
_Answer = Any
"""What a chain returns: documents, text, a message or a mapping of them."""


def as_retriever(
    component: Embeddings | VectorStore | Runnable[Any, Any],
    documents: Sequence[Document],
    *,
    input_key: str | None = None,
    compressor: BaseDocumentCompressor | None = None,
    use_async: bool = False,
) -> Retriever:
    """Return a LangChain component as a core retriever, for evaluation.

    Embeddings embed the documents and are searched exactly by cosine; a vector store, a retriever or any Runnable that
    returns documents (or a mapping with them under context, source_documents or documents) is asked through its own
    methods, batch or abatch, for k and the excluded documents besides, or with the exclusions where it takes them.
    Found texts are matched to the task's documents by id, by metadata (id, document_id, doc_id, source) or by content.
    input_key wraps the query of a Runnable that wants a mapping. compressor, a filter or a reranker, is given the k
    documents that a Runnable finds. Raises InputError for anything else.
    """
    if isinstance(component, Embeddings):
        return EmbeddingFunctions(
            documents, embed_documents=component.embed_documents, embed_query=component.embed_query
        )
    names = DocumentNames(documents)
    if isinstance(component, VectorStore):
        return _StoreRetriever(component, names, use_async=use_async)
    if isinstance(component, Runnable):
        return _RunnableRetriever(component, names, input_key=input_key, compressor=compressor, use_async=use_async)
    raise InputError(f"got a {type(component).__name__}; want LangChain Embeddings, a VectorStore or a Runnable")


class _StoreRetriever:
    """A vector store, asked for documents with their scores."""

    def __init__(self, store: VectorStore, names: DocumentNames, *, use_async: bool) -> None:
        self._store = store
        self._names = names
        self._use_async = use_async

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        bans = excluded_ids if excluded_ids is not None else [()] * len(queries)
        return [self._ask(query, k, banned) for query, banned in zip(queries, bans, strict=True)]

    def _ask(self, query: str, k: int, banned: Collection[str]) -> Hits:
        wanted = k + len(banned)
        if self._use_async:
            pairs = asyncio.run(self._store.asimilarity_search_with_score(query, k=wanted))
        else:
            pairs = self._store.similarity_search_with_score(query, k=wanted)
        return keep(self._names.hits([found_text(document, float(score)) for document, score in pairs]), banned, k)


class _RunnableRetriever:
    """A retriever or another Runnable, called in batches of queries with the same number of wanted documents."""

    def __init__(
        self,
        runnable: Runnable[Any, Any],
        names: DocumentNames,
        *,
        input_key: str | None,
        compressor: BaseDocumentCompressor | None,
        use_async: bool,
    ) -> None:
        self._runnable = runnable
        self._names = names
        self._input_key = input_key
        self._compressor = compressor
        self._use_async = use_async
        self._excludes = "excluded_ids" in getattr(type(runnable), "model_fields", {})
        self._listener = Listener()

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        bans = excluded_ids if excluded_ids is not None else [()] * len(queries)
        alike: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for place, banned in enumerate(bans):
            key = (k, tuple(banned)) if self._excludes else (k + len(banned), ())
            alike.setdefault(key, []).append(place)
        hits: dict[int, Hits] = {}
        for (wanted, banned), places in alike.items():
            outputs = self._batch([queries[place] for place in places], wanted, banned)
            for place, output in zip(places, outputs, strict=True):
                found = [found_text(document) for document in self._compressed(queries[place], documents_in(output))]
                hits[place] = keep(self._names.hits(found), bans[place], k)
        return [hits[place] for place in range(len(queries))]

    def usage(self) -> Usage:
        return Usage(llm_calls=self._listener.calls, llm_tokens=self._listener.tokens)

    def _compressed(self, query: str, documents: list[LangChainDocument]) -> Sequence[LangChainDocument]:
        if self._compressor is None:
            return documents
        if self._use_async:
            return asyncio.run(self._compressor.acompress_documents(documents, query, [self._listener]))
        return self._compressor.compress_documents(documents, query, [self._listener])

    def _batch(self, queries: Sequence[str], wanted: int, banned: tuple[str, ...]) -> list[_Answer]:
        inputs: list[Any] = [{self._input_key: query} if self._input_key else query for query in queries]
        runnable, changes = _asking_for(self._runnable, wanted, use_async=self._use_async)
        if banned:
            changes["excluded_ids"] = banned
        config = RunnableConfig(callbacks=[self._listener])
        if self._use_async:
            return asyncio.run(runnable.abatch(inputs, config, **changes))
        return runnable.batch(inputs, config, **changes)


def _asking_for(
    runnable: Runnable[Any, Any], wanted: int, *, use_async: bool
) -> tuple[Runnable[Any, Any], dict[str, Any]]:
    """Return how to request `wanted` documents: the Runnable, or a copy with another k, and the call's arguments."""
    if isinstance(runnable, BaseRetriever):
        # As BaseRetriever itself finds out what its subclass takes.
        asked = runnable._aget_relevant_documents if use_async else runnable._get_relevant_documents  # noqa: SLF001
        parameters = inspect.signature(asked).parameters
        own = "excluded_ids" in type(runnable).model_fields
        if own or isinstance(runnable, VectorStoreRetriever) or "k" in parameters:
            return runnable, {"k": wanted}
        field = next((name for name in ("k", "top_k") if name in type(runnable).model_fields), None)
        if field is not None:
            return runnable.model_copy(update={field: wanted}), {}
    return runnable, {}


def found_text(document: LangChainDocument, score: float | None = None) -> FoundText:
    """Return a document as a framework's find; its score is the given one, else metadata's."""
    if score is None:
        scores = (document.metadata.get(key) for key in _SCORE_KEYS)
        score = next((float(value) for value in scores if isinstance(value, int | float)), None)
    names = tuple(document.metadata.get(key) for key in _NAME_KEYS)
    return FoundText(unit=document.id, names=names, content=document.page_content, score=score)


def holds_documents(output: object) -> bool:
    """Whether a Runnable's output is documents, or a mapping with them under a known key."""
    return _are_documents(output) or (isinstance(output, Mapping) and _documents_key(output) is not None)


def _documents_key(output: Mapping[str, Any]) -> str | None:
    return next((key for key in _DOCUMENT_KEYS if _are_documents(output.get(key))), None)


def _are_documents(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, LangChainDocument) for item in value)


def documents_in(output: _Answer) -> list[LangChainDocument]:
    """Return the documents of a Runnable's output; raises InputError where it holds none."""
    if isinstance(output, Mapping):
        key = _documents_key(output)
        output = output[key] if key else None
    if not _are_documents(output):
        raise InputError(
            f"the Runnable returned {type(output).__name__}; want documents, or a mapping with them under one of "
            f"{', '.join(_DOCUMENT_KEYS)}"
        )
    return list(output)
