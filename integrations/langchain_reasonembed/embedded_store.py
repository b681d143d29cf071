"""EmbeddedStore: a store with the embeddings that fill and search it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langchain_reasonembed.arrays import adocument_vectors, aquery_vector, document_vectors, query_vector, spec_of
from langchain_reasonembed.conversion import Texts
from reasonembed_rag.forks import ForkLock
from reasonembed_stores import FaissStore, Store, check_columns

__all__ = ["EmbeddedStore"]

_CREATING = ForkLock()
"""One for all stores, as a lock of its own would keep a store from being pickled."""


class EmbeddedStore:
    """Embed texts and put them into a store, and embed the queries to it.

    A store of another model's vectors raises SpecMismatchError when the first text has been embedded.
    """

    def __init__(self, embedding: Embeddings, store: Store | None) -> None:
        """Take any embeddings, and an open store, or create one in memory at the first use."""
        self.embedding = embedding
        self._store = store
        self._is_checked = False

    @property
    def store(self) -> Store:
        """The store; creating it loads the model."""
        if self._store is None:
            with _CREATING:
                if self._store is None:
                    self._store = FaissStore.create(spec=spec_of(self.embedding))
        return self._store

    def add(self, texts: Texts, size: int | None) -> None:
        """Embed and store texts, so many at a time; what cannot be stored is refused before any is embedded."""
        check_columns(texts.ids, texts.texts, texts.metadatas)
        for part in texts.parts(size):
            self._put_embedded(part, document_vectors(self.embedding, part.texts))

    async def aadd(self, texts: Texts, size: int | None) -> None:
        """Like add, without blocking the event loop."""
        await asyncio.to_thread(check_columns, texts.ids, texts.texts, texts.metadatas)
        for part in texts.parts(size):
            vectors = await adocument_vectors(self.embedding, part.texts)
            await asyncio.to_thread(self._put_embedded, part, vectors)

    def _put_embedded(self, part: Texts, vectors: NDArray[np.float32]) -> None:
        self._check_model()
        self.put(part, vectors)

    def put(self, part: Texts, vectors: NDArray[Any]) -> None:
        """Store texts with their vectors."""
        if isinstance(self.store, FaissStore):
            self.store.upsert_texts(part.texts, vectors, ids=part.ids, metadatas=part.metadatas)
        else:
            self.store.upsert(part.documents(), vectors)

    def query_vector(self, query: str, kwargs: dict[str, Any]) -> NDArray[np.float32]:
        """Return the vector of a query, with the task or instruction among the arguments, which is taken out."""
        vector = query_vector(self.embedding, query, kwargs.pop("task", None), kwargs.pop("instruction", None))
        self._check_model()
        return vector

    async def aquery_vector(self, query: str, kwargs: dict[str, Any]) -> NDArray[np.float32]:
        """Like query_vector, without blocking the event loop."""
        instructed = kwargs.pop("task", None), kwargs.pop("instruction", None)
        vector = await aquery_vector(self.embedding, query, *instructed)
        if not self._is_checked:
            await asyncio.to_thread(self._check_model)
        return vector

    def _check_model(self) -> None:
        """Raise SpecMismatchError for a store of another model's vectors; the model is loaded by now."""
        if not self._is_checked:
            spec = spec_of(self.embedding)
            if spec is not None:
                self.store.check_spec(spec)
            self._is_checked = True
