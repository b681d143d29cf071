"""Embed and store documents in windows: each is committed, so that a killed run loses at most one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.protocols import Embedder
from reasonembed_stores.comparing import Changes, content_hash, pages_of
from reasonembed_stores.spool import Mark
from reasonembed_stores.store import Store

if TYPE_CHECKING:
    from reasonembed_rag.llm import StageReport

__all__ = ["Progress", "store_changes"]

_READY = 1000
"""Documents with known vectors that are stored at once."""
_FIRST_WINDOW = 256
_SMALLEST_WINDOW = 16
_LARGEST_WINDOW = 8192
_SHORT_S, _LONG_S = 10.0, 60.0
"""A window should take a time between these: long enough to batch well, short enough to lose little."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run; the time left is better estimated from characters than from documents."""

    documents: int
    of_documents: int
    characters: int
    of_characters: int
    files: int = 0
    """Files that were read so far, before any document is counted."""
    of_files: int = 0
    enrichment: StageReport | None = None
    """What the chat model was asked so far, in calls after a reply of it."""

    @classmethod
    def before(cls, left: Sequence[Mark], *, of: Mark) -> Self:
        """Return the progress where so much is left, of a corpus or, if that is less, of itself."""
        documents, characters = sum(one.documents for one in left), sum(one.characters for one in left)
        of_documents, of_characters = max(of.documents, documents), max(of.characters, characters)
        return cls(of_documents - documents, of_documents, of_characters - characters, of_characters)


def store_changes(
    changes: Changes, store: Store, embedder: Embedder, *, start: Progress, on_progress: Callable[[Progress], None]
) -> int:
    """Store what changed, and return the number of documents that had the content of one embedded before them.

    `start` is the progress without the changes.
    """
    progress = start
    on_progress(progress)
    place = 0
    for page in pages_of(changes.ready, _READY):
        documents = [one.document for one in page]
        store.upsert(documents, changes.vectors.rows(place, len(page)))
        place += len(page)
        progress = _advance(progress, documents)
        on_progress(progress)
    window = _Window(store, embedder)
    for one in changes.encoded:
        if window.take(one.document):
            progress = _advance(progress, window.flush())
            on_progress(progress)
    progress = _advance(progress, window.flush())
    on_progress(progress)
    return window.repeated


class _Window:
    """Documents that are embedded and committed together; their number adapts to the time that takes."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._waiting: list[Document] = []
        self._size = _FIRST_WINDOW
        self._embedded: dict[bytes, str] = {}
        self.repeated = 0

    def take(self, document: Document) -> bool:
        """Add a document, and tell whether the window is full."""
        self._waiting.append(document)
        return len(self._waiting) >= self._size

    def flush(self) -> list[Document]:
        """Embed and commit the waiting documents, and return them."""
        done, self._waiting = self._waiting, []
        if not done:
            return done
        start = time.monotonic()
        self._store.upsert(done, self._vectors(done))
        took = time.monotonic() - start
        if took < _SHORT_S:
            self._size = min(2 * self._size, _LARGEST_WINDOW)
        elif took > _LONG_S:
            self._size = max(self._size // 2, _SMALLEST_WINDOW)
        return done

    def _vectors(self, documents: Sequence[Document]) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of documents; each content is embedded once in a run."""
        hashes = [content_hash(document.content) for document in documents]
        stored = {one: self._embedded[one] for one in hashes if one in self._embedded}
        fresh = {one: document for one, document in zip(hashes, documents, strict=True) if one not in stored}
        row = {one: place for place, one in enumerate((*fresh, *stored))}
        parts = [self._embedder.encode_documents([document.content for document in fresh.values()])] if fresh else []
        parts += [self._store.vectors_of(list(stored.values()))] if stored else []
        self._embedded |= {one: document.id for one, document in fresh.items()}
        self.repeated += len(documents) - len(fresh)
        return np.concatenate(parts)[[row[one] for one in hashes]]


def _advance(progress: Progress, done: Iterable[Document]) -> Progress:
    lengths = [len(document.content) for document in done]
    return replace(progress, documents=progress.documents + len(lengths), characters=progress.characters + sum(lengths))
