"""BM25 over the nodes of a store, for the query modes that match words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.retrieval import BM25
from reasonembed_stores import FaissStore, Filter, Group, Store

__all__ = ["LexicalSearch"]

_logger = logging.getLogger(__name__)


class LexicalSearch:
    """Rank the documents of a store by BM25; the index is built at the first search, and again after a change."""

    def __init__(self) -> None:
        self._lock = ForkLock()
        self._index: BM25 | None = None
        self._version: tuple[int, int] | None = None

    def search(self, store: Store, text: str, *, k: int, filters: Filter | None, ids: Sequence[str] | None) -> Hits:
        """Return the k best documents that share a word with the text, satisfy the filters and are among ids.

        Raises InputError for another store than a FaissStore, whose changes cannot be noticed.
        """
        index = self._current(store)
        if index is None:
            return Hits((), np.empty(0, dtype=np.float32), ())
        excluded: frozenset[str] = frozenset()
        if filters is not None or ids is not None:
            allowed = {document.id for document in store.select(filters or Group("all", ()), ids=ids)}
            excluded = frozenset(index.ids) - allowed
        (found,) = index.search([text], k=k, excluded_ids=[excluded])
        documents = {document.id: document for document in store.get(found.ids)}
        return Hits.ranked(
            Hit(identity, score, documents[identity])
            for identity, score in zip(found.ids, found.scores.tolist(), strict=True)
            if identity in documents  # else it was deleted in the meantime
        )

    def _current(self, store: Store) -> BM25 | None:
        """Return the index of the store's documents; None where it has none."""
        if not isinstance(store, FaissStore):
            raise InputError(
                f"a {type(store).__name__} is not searched by words; fuse its retriever with another by "
                "QueryFusionRetriever, or use a FaissStore"
            )
        with self._lock:
            version = store.version
            if version != self._version:
                documents = list(store)
                _logger.info("indexing the words of %d documents", len(documents))
                self._index = BM25(documents) if documents else None
                self._version = version
            return self._index
