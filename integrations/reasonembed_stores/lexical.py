"""BM25 over the documents of a store: counted once a state, kept in the index folder, never older than the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.retrieval import BM25, Analyzer, GramAnalyzer, has_bm25, read_bm25, write_bm25
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.filters import FilterLike, Group, parse_filter
from reasonembed_stores.folder import StoreFolder
from reasonembed_stores.store import Store

__all__ = ["LexicalSearch", "keep_bm25", "with_documents"]

_logger = logging.getLogger(__name__)

_FILE = "bm25.npz"
_MANY = 5_000
"""So many documents take a second or more to count."""

_OnMessage = Callable[[str], object]


class LexicalSearch:
    """Rank the documents of a FaissStore by BM25; its index is read or built at the first search and after a change.

    The terms are those of an analyzer; by default they are pieces of words (GramAnalyzer), and an index of these is
    read from the store's folder where keep_bm25 has written it and the documents are the same.
    """

    def __init__(self, make_analyzer: Callable[[], Analyzer] = GramAnalyzer) -> None:
        self._make_analyzer = make_analyzer
        self._lock = ForkLock()
        self._index: BM25 | None = None
        self._version: tuple[int, int] | None = None

    def search(
        self,
        store: Store,
        texts: Sequence[str],
        *,
        k: int,
        filters: FilterLike | None = None,
        ids: Collection[str] | None = None,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return for each text the k best documents that share a term with it, without their contents.

        Only documents that satisfy the filters, are among ids and not among the text's excluded ids are ranked. Raises
        InputError for another store than a FaissStore, whose changes cannot be noticed.
        """
        index = self.prepare(store)
        if index is None:
            return [Hits((), np.empty(0, dtype=np.float32))] * len(texts)
        outside: frozenset[str] = frozenset()
        if filters is not None or ids is not None:
            allowed = {document.id for document in store.select(parse_filter(filters) or Group("all", ()), ids=ids)}
            outside = frozenset(index.ids) - allowed
        excluded = [outside.union(own) for own in excluded_ids or [()] * len(texts)]
        return index.search(texts, k=k, excluded_ids=excluded)

    def prepare(self, store: Store, *, on_message: _OnMessage | None = None) -> BM25 | None:
        """Return the index of the store's documents, None where it has none; raises what search raises.

        on_message is called before many documents are counted, which takes seconds; by default that is logged.
        """
        if not isinstance(store, FaissStore):
            raise InputError(
                f"a {type(store).__name__} is not searched by words; fuse its retriever with another "
                "(Fusion, or QueryFusionRetriever in LlamaIndex), or use a FaissStore"
            )
        with self._lock:
            version = store.version
            if version != self._version:
                self._index = self._read(store) or _built(store, self._make_analyzer(), on_message)
                self._version = version
            return self._index

    def _read(self, store: FaissStore) -> BM25 | None:
        if store.path is None or self._make_analyzer is not GramAnalyzer:
            return None
        label = _label(store.path)
        return None if label is None else read_bm25(store.path / _FILE, GramAnalyzer(), label=label)


def keep_bm25(folder: str | Path, *, on_message: _OnMessage | None = None) -> bool:
    """Write the BM25 index of a saved store into its folder, so that no search has to build it; False if it is there.

    Where the documents change later the file is ignored until this is called again. A store that another process is
    writing, or that has no documents, is left as it is. Raises StoreError for a folder without a FaissStore, OSError
    where the disk refuses.
    """
    path, label = Path(folder) / _FILE, _label(Path(folder))
    if label is None or has_bm25(path, label=label):
        return False
    with FaissStore.open(folder) as store:
        index = _built(store, GramAnalyzer(), on_message)
    if index is None or _label(Path(folder)) != label:
        return False
    write_bm25(index, path, label=label)
    return True


def with_documents(hits: Hits, store: Store) -> Hits:
    """Return hits with the store's documents, without those that were deleted since the search."""
    if hits.documents is not None:
        return hits
    documents = {document.id: document for document in store.get(hits.ids)}
    return Hits.ranked(Hit(hit.id, hit.score, documents[hit.id]) for hit in hits if hit.id in documents)


def _label(folder: Path) -> str | None:
    """Return the checksum of a store's documents; None while a writer is at work, when there is none."""
    files = StoreFolder(folder)
    return files.read_manifest().files.get(files.catalog.name)


def _built(store: FaissStore, analyzer: Analyzer, on_message: _OnMessage | None) -> BM25 | None:
    report = (on_message or _logger.info) if len(store) >= _MANY else _logger.debug
    report(f"counting the words of {len(store):,} documents for BM25")
    documents = list(store)
    return BM25(documents, analyzer=analyzer) if documents else None
