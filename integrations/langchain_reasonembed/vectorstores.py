"""ReasonEmbedVectorStore: LangChain's vector store over FaissStore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from numpy.typing import NDArray

from langchain_reasonembed.arrays import adocument_vectors, aquery_vector, document_vectors, query_vector, spec_of
from langchain_reasonembed.conversion import (
    Texts,
    langchain_document,
    scored_documents,
    texts_of,
    texts_of_documents,
)
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores import FaissStore, FilterLike, search_mmr

__all__ = ["ReasonEmbedVectorStore"]

_SEARCH = {"filter", "filters", "task", "instruction", "excluded_ids"}
"""Arguments of a search besides k: metadata filters (either name), the query's instruction, ids to leave out."""


class ReasonEmbedVectorStore(VectorStore):
    """Store LangChain documents with their vectors, in memory or in a folder, and search them by cosine similarity.

    Scores are cosine similarities, higher is better; relevance scores are (1 + cosine) / 2. Adding a known id replaces
    its document. Filters and exclusions apply before the top k is taken. In a folder every call commits.
    """

    def __init__(self, embedding: Embeddings, store: FaissStore | None = None) -> None:
        """Take any embeddings; without a store, one in memory is created for the first documents."""
        self._embedding = embedding
        self._store = store
        self._creating = Lock()

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings for queries and documents."""
        return self._embedding

    @property
    def store(self) -> FaissStore:
        """The underlying FaissStore; if there is none yet, it is created, which loads the model."""
        with self._creating:
            if self._store is None:
                self._store = FaissStore.create(spec=spec_of(self._embedding))
            return self._store

    # Adding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Embed and store texts; the text and metadata of a known id are replaced.

        batch_size is how many are embedded and committed at once. Raises InputError for lists of different lengths, a
        repeated id, and metadata that is not JSON.
        """
        return self._add(texts_of(texts, metadatas, ids), **kwargs)

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embed and store documents under `ids`, else their own ids, else new ones."""
        return self._add(texts_of_documents(documents, kwargs.pop("ids", None)), **kwargs)

    def _add(self, texts: Texts, **kwargs: Any) -> list[str]:
        for part in texts.parts(_batch_size(kwargs)):
            self._store_part(part, document_vectors(self._embedding, part.texts))
        return texts.ids

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Like add_texts, without blocking the event loop."""
        return await self._aadd(texts_of(texts, metadatas, ids), **kwargs)

    async def aadd_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Like add_documents, without blocking the event loop."""
        return await self._aadd(texts_of_documents(documents, kwargs.pop("ids", None)), **kwargs)

    async def _aadd(self, texts: Texts, **kwargs: Any) -> list[str]:
        for part in texts.parts(_batch_size(kwargs)):
            vectors = await adocument_vectors(self._embedding, part.texts)
            await asyncio.to_thread(self._store_part, part, vectors)
        return texts.ids

    def add_embeddings(
        self,
        texts: Iterable[str],
        vectors: NDArray[Any] | Sequence[Sequence[float]],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
    ) -> list[str]:
        """Store texts with precomputed vectors (n, dimension); an array is never converted to lists."""
        columns = texts_of(texts, metadatas, ids)
        if columns.ids or len(vectors):
            self._store_part(columns, np.asarray(vectors))
        return columns.ids

    def _store_part(self, part: Texts, vectors: NDArray[Any]) -> None:
        self.store.upsert_texts(part.texts, vectors, ids=part.ids, metadatas=part.metadatas)

    # Removing and getting

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Remove documents, all of them if ids is None; unknown ids are ignored."""
        _refuse_others(kwargs, set())
        if ids is None:
            self.store.clear()
        else:
            self.store.delete(ids)
        return True

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Like delete, without blocking the event loop."""
        return await asyncio.to_thread(self.delete, ids, **kwargs)

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents of these ids, in their order; unknown ids are left out."""
        return [langchain_document(document) for document in self.store.get(ids)]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Like get_by_ids, without blocking the event loop."""
        return await asyncio.to_thread(self.get_by_ids, ids)

    # Searching

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a query; `filter` (or `filters`) and `excluded_ids` restrict them."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a query with their cosine similarities."""
        _refuse_others(kwargs, _SEARCH)
        vector = query_vector(self._embedding, query, kwargs.pop("task", None), kwargs.pop("instruction", None))
        return scored_documents(self._nearest(vector, k, **kwargs))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a vector with their cosine similarities."""
        _refuse_others(kwargs, _SEARCH - {"task", "instruction"})
        return scored_documents(self._nearest(np.asarray(embedding), k, **kwargs))

    def _nearest(
        self,
        vector: NDArray[Any],
        k: int,
        *,
        filter: FilterLike | None = None,  # noqa: A002 - LangChain's name
        excluded_ids: Sequence[str] = (),
    ) -> Hits:
        return self.store.search(vector[None, :], k=k, filters=filter, excluded_ids=[excluded_ids])[0]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Like similarity_search, without blocking the event loop."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Like similarity_search_with_score, without blocking the event loop."""
        _refuse_others(kwargs, _SEARCH)
        instructed = kwargs.pop("task", None), kwargs.pop("instruction", None)
        vector = await aquery_vector(self._embedding, query, *instructed)
        return scored_documents(await asyncio.to_thread(self._nearest, vector, k, **kwargs))

    async def asimilarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Like similarity_search_by_vector, without blocking the event loop."""
        return await asyncio.to_thread(self.similarity_search_by_vector, embedding, k, **kwargs)

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _relevance

    # Maximal marginal relevance

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return k of the fetch_k nearest documents, near the query and unlike each other, in order of selection."""
        _refuse_others(kwargs, _SEARCH)
        vector = query_vector(self._embedding, query, kwargs.pop("task", None), kwargs.pop("instruction", None))
        return self._diverse(vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Like max_marginal_relevance_search, for a vector."""
        _refuse_others(kwargs, _SEARCH - {"task", "instruction"})
        return self._diverse(np.asarray(embedding), k, fetch_k, lambda_mult, **kwargs)

    def _diverse(
        self,
        vector: NDArray[Any],
        k: int,
        fetch_k: int,
        lambda_mult: float,
        *,
        filter: FilterLike | None = None,  # noqa: A002 - LangChain's name
        excluded_ids: Sequence[str] = (),
    ) -> list[Document]:
        (hits,) = search_mmr(
            self.store,
            vector[None, :],
            k=k,
            fetch_k=fetch_k,
            balance=lambda_mult,
            filters=filter,
            excluded_ids=[excluded_ids],
        )
        return [langchain_document(document) for document in hits.documents or ()]

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Like max_marginal_relevance_search, without blocking the event loop."""
        _refuse_others(kwargs, _SEARCH)
        instructed = kwargs.pop("task", None), kwargs.pop("instruction", None)
        vector = await aquery_vector(self._embedding, query, *instructed)
        return await asyncio.to_thread(self._diverse, vector, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Like max_marginal_relevance_search_by_vector, without blocking the event loop."""
        search = self.max_marginal_relevance_search_by_vector
        return await asyncio.to_thread(search, embedding, k, fetch_k, lambda_mult, **kwargs)

    # Creating, saving, loading

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a store of texts, in memory or, with path=..., in a new folder."""
        created = cls._created(embedding, kwargs)
        created.add_texts(texts, metadatas, ids=ids, **kwargs)
        return created

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Like from_texts, without blocking the event loop."""
        created = await asyncio.to_thread(cls._created, embedding, kwargs)
        await created.aadd_texts(texts, metadatas, ids=ids, **kwargs)
        return created

    @classmethod
    def _created(cls, embedding: Embeddings, kwargs: dict[str, Any]) -> Self:
        path = kwargs.pop("path", None)
        return cls(embedding, None if path is None else FaissStore.create(path, spec=spec_of(embedding)))

    def save_local(self, folder_path: str | Path) -> None:
        """Write everything to a folder, replacing a store there; the store of that folder itself is sealed in place."""
        self.store.copy_to(folder_path)

    @classmethod
    def load_local(cls, folder_path: str | Path, embeddings: Embeddings) -> Self:
        """Open the store of a folder; nothing in it is executed.

        Raises StoreError for a foreign or damaged folder, SpecMismatchError if the embeddings are of another model.
        """
        return cls(embeddings, FaissStore.open(folder_path, spec=spec_of(embeddings)))

    def merge_from(self, target: ReasonEmbedVectorStore) -> None:
        """Add the documents and vectors of another store; for ids that both have, the other store's win."""
        documents = list(target.store)
        if documents:
            self.store.upsert(documents, target.store.vectors_of([document.id for document in documents]))


def _batch_size(kwargs: dict[str, Any]) -> int | None:
    kwargs.pop("current_time", None)  # LangChain's time-weighted retriever has put it in the metadata already
    _refuse_others(kwargs, {"batch_size"})
    size: int | None = kwargs.get("batch_size")
    if size is not None and size < 1:
        raise InputError(f"batch_size is {size}; want at least 1")
    return size


def _refuse_others(kwargs: dict[str, Any], known: set[str]) -> None:
    """Raise InputError for an unknown argument; `filters` becomes `filter`."""
    unknown = sorted(kwargs.keys() - known)
    if unknown:
        raise InputError(f"unknown argument {unknown[0]!r}; want {', '.join(sorted(known)) or 'none'}")
    if "filters" in kwargs:
        if kwargs.get("filter") is not None:
            raise InputError("got both filter and filters, which mean the same; leave one of them out")
        kwargs["filter"] = kwargs.pop("filters")


def _relevance(score: float) -> float:
    return min(1.0, max(0.0, (1.0 + score) / 2.0))
