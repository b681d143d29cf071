"""ReasonEmbedVectorStore: LangChain's vector store over our stores."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever
from numpy.typing import NDArray

from langchain_reasonembed.arguments import adding, check_alone, diverse, retrieving, similar, without_index_name
from langchain_reasonembed.arrays import spec_of
from langchain_reasonembed.conversion import (
    Texts,
    langchain_document,
    scored_documents,
    texts_of,
    texts_of_documents,
)
from langchain_reasonembed.embedded_store import EmbeddedStore
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores import FaissStore, FilterLike, Store, open_shared, search_mmr

__all__ = ["ReasonEmbedVectorStore"]


class ReasonEmbedVectorStore(VectorStore):
    """Store LangChain documents with their vectors, in memory or in a folder, and search them by cosine similarity.

    Scores are cosine similarities, higher is better; relevance scores are (1 + cosine) / 2. Adding a known id replaces
    its document. Filters and exclusions apply before the top k is taken. In a folder every call commits, and objects of
    one folder share it.
    """

    def __init__(self, embedding: Embeddings, store: Store | None = None) -> None:
        """Take any embeddings, and an open FaissStore or ChromaStore, or one in memory for the first documents.

        A store of another model's vectors raises SpecMismatchError when the first text is embedded.
        """
        self._embedded = EmbeddedStore(embedding, store)

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings for queries and documents."""
        return self._embedded.embedding

    @property
    def store(self) -> Store:
        """The underlying FaissStore or ChromaStore; if there is none yet, it is created, which loads the model."""
        return self._embedded.store

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
        self._embedded.add(texts, adding(kwargs))
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
        await self._embedded.aadd(texts, adding(kwargs))
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
            self._embedded.put(columns, np.asarray(vectors))
        return columns.ids

    # Removing and getting

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Remove documents, all of them if ids is None; unknown ids are ignored."""
        check_alone(kwargs)
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
        kwargs = similar(kwargs)
        vector = self._embedded.query_vector(query, kwargs)
        return scored_documents(self._nearest(vector, k, **kwargs))

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the k documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return the k documents nearest to a vector with their cosine similarities."""
        kwargs = similar(kwargs, of_vector=True)
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
        kwargs = similar(kwargs)
        vector = await self._embedded.aquery_vector(query, kwargs)
        return scored_documents(await asyncio.to_thread(self._nearest, vector, k, **kwargs))

    async def asimilarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Like similarity_search_by_vector, without blocking the event loop."""
        return await asyncio.to_thread(self.similarity_search_by_vector, embedding, k, **kwargs)

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Return a retriever over this store; raises InputError for an argument that no search would take."""
        return super().as_retriever(**retrieving(kwargs))

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return _relevance

    # Maximal marginal relevance

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return k of the fetch_k nearest documents, near the query and unlike each other, in order of selection."""
        kwargs = diverse(kwargs)
        vector = self._embedded.query_vector(query, kwargs)
        return self._diverse(vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Like max_marginal_relevance_search, for a vector."""
        kwargs = diverse(kwargs, of_vector=True)
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
        kwargs = diverse(kwargs)
        vector = await self._embedded.aquery_vector(query, kwargs)
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
        """Create a store of texts, in memory or, with path=..., in a folder; a store there gets the texts.

        In a folder, a text without an id gets one from its content and metadata, so that a second run adds nothing, and
        the store is saved.
        """
        path = kwargs.pop("path", None)
        adding(kwargs)
        columns = texts_of(texts, metadatas, ids, derived=path is not None)
        created = cls._at(path, embedding)
        created.add_texts(columns.texts, columns.metadatas, ids=columns.ids, **kwargs)
        _save(created.store)
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
        path = kwargs.pop("path", None)
        adding(kwargs)
        columns = texts_of(texts, metadatas, ids, derived=path is not None)
        created = await asyncio.to_thread(cls._at, path, embedding)
        await created.aadd_texts(columns.texts, columns.metadatas, ids=columns.ids, **kwargs)
        await asyncio.to_thread(_save, created.store)
        return created

    @classmethod
    def _at(cls, path: str | Path | None, embedding: Embeddings) -> Self:
        """Return the store in a folder, or a new one."""
        if path is None:
            return cls(embedding)
        return cls(embedding, open_shared(path, spec=spec_of(embedding), create=True))

    def save_local(self, folder_path: str | Path, index_name: str = "index") -> None:
        """Write everything to a folder, replacing a store there; the store of that folder itself is sealed in place.

        Raises InputError for an index_name, which FAISS has for several indexes in a folder, and for a ChromaStore.
        """
        without_index_name(folder_path, index_name)
        if not isinstance(self.store, FaissStore):
            raise InputError(f"a {type(self.store).__name__} is saved by its own database; open it there again")
        self.store.copy_to(folder_path)

    @classmethod
    def load_local(
        cls,
        folder_path: str | Path,
        embeddings: Embeddings,
        index_name: str = "index",
        *,
        allow_dangerous_deserialization: bool | None = None,
    ) -> Self:
        """Open the store of a folder; nothing in it is executed, so allow_dangerous_deserialization is ignored.

        Raises StoreError for a foreign or damaged folder, SpecMismatchError if the embeddings are of another model,
        and InputError for an index_name.
        """
        without_index_name(folder_path, index_name)
        if allow_dangerous_deserialization is not None:
            warnings.warn(
                "allow_dangerous_deserialization is ignored: nothing in the folder of this store is executed",
                stacklevel=2,
            )
        return cls(embeddings, open_shared(folder_path, spec=spec_of(embeddings)))

    def merge_from(self, target: ReasonEmbedVectorStore) -> None:
        """Add the documents and vectors of another store; for ids that both have, the other store's win."""
        documents = list(target.store)
        if documents:
            self.store.upsert(documents, target.store.vectors_of([document.id for document in documents]))


def _save(store: Store) -> None:
    """Save a store in a folder, so that another object may write to it."""
    if isinstance(store, FaissStore) and store.path is not None:
        store.save()


def _relevance(score: float) -> float:
    return min(1.0, max(0.0, (1.0 + score) / 2.0))
