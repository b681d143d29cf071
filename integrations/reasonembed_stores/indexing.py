"""Keep a store equal to a corpus: only new and changed documents are embedded.

A run may be killed at any moment: what it committed stays, and the next run continues from there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reasonembed_rag.deprecation import renamed_arguments
from reasonembed_rag.documents import Document, unique_ids
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import replacing
from reasonembed_rag.protocols import Embedder
from reasonembed_stores.faiss_store import FaissStore
from reasonembed_stores.folder import check_free
from reasonembed_stores.metadata import plain_metadata
from reasonembed_stores.readers import Corpus
from reasonembed_stores.store import Store

__all__ = ["IndexReport", "Progress", "build_index", "is_unfinished", "update_store"]

_MARK = "unfinished"
_PAGE = 1000
"""Documents that are compared with the store at once."""
_FIRST_WINDOW = 256
_SMALLEST_WINDOW = 16
_LARGEST_WINDOW = 8192
_SHORT_S, _LONG_S = 10.0, 60.0
"""A window should take a time between these: long enough to batch well, short enough to lose little."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was done with the documents of a corpus."""

    added: int = 0
    replaced: int = 0
    """Their content changed, so they were embedded again."""
    relabelled: int = 0
    """Only their metadata changed, so they kept their vectors."""
    unchanged: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run; the time left is better estimated from characters than from documents."""

    documents: int
    of_documents: int
    characters: int
    of_characters: int


@dataclass(frozen=True, slots=True)
class _Survey:
    ids: frozenset[str]
    files: frozenset[str]
    """The files that were split into passages."""
    characters: int


@dataclass(frozen=True, slots=True)
class _Work:
    """The documents of one page, by what has to be done with them."""

    new: list[Document]
    changed: list[Document]
    relabelled: list[Document]
    unchanged: list[Document]


@renamed_arguments(codes="dtype", index="ann")
def build_index(
    corpus: Corpus,
    to: Path,
    embedder: Embedder,
    *,
    sync: bool = False,
    dtype: Literal["float32", "float16"] | None = None,
    ann: Literal["auto", "flat", "hnsw", "ivf"] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_message: Callable[[str], object] | None = None,
) -> IndexReport:
    """Create the FaissStore of a folder or bring it up to date; `sync` also deletes what the corpus no longer has.

    Passages that a file of the corpus no longer has are deleted without `sync` too. `dtype` (float32) and `ann` (auto)
    are for a new store, as in FaissStore.create. The whole corpus is read once before anything is written: bad input
    raises InputError and leaves no trace. Raises SpecMismatchError for the store of another model. `on_message` is
    called with a line before and after an ANN index is built; by default both are logged.
    """
    survey = _survey(corpus)
    fresh = not (to / "manifest.json").exists()
    if fresh:
        check_free(to)
        FaissStore.create(to, spec=embedder.spec, dtype=dtype or "float32", ann=ann or "auto").close()
    elif dtype is not None or ann is not None:
        raise InputError(f"{to} exists already; leave out dtype and ann, or index into another folder")
    with FaissStore.open(to, spec=embedder.spec) as store:
        try:
            with _marked_unfinished(to):
                report = _update(corpus, survey, store, embedder, sync=sync, on_progress=on_progress)
                store.save(on_message=on_message)
        except Exception:
            if fresh and not len(store):
                store.close()
                shutil.rmtree(to)
            raise
    return report


def is_unfinished(path: Path) -> bool:
    """Tell whether a run over this folder was interrupted, so that documents may be missing until it is run again."""
    return (path / _MARK).exists()


@contextmanager
def _marked_unfinished(path: Path) -> Iterator[None]:
    with replacing(path / _MARK) as file:
        file.write(b"An index run was interrupted; run it again to add what is missing.\n")
    yield
    (path / _MARK).unlink()


def update_store(
    corpus: Corpus,
    store: Store,
    embedder: Embedder,
    *,
    sync: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> IndexReport:
    """Bring any store up to date with a corpus; sync also deletes what the corpus no longer has.

    Raises InputError for a repeated id, an empty corpus and unreadable files, before anything is written.
    """
    return _update(corpus, _survey(corpus), store, embedder, sync=sync, on_progress=on_progress)


def _survey(corpus: Corpus) -> _Survey:
    ids: list[str] = []
    files: set[str] = set()
    characters = 0
    for document in unique_ids(corpus):
        ids.append(document.id)
        if (file := _file_of(document)) is not None:
            files.add(file)
        characters += len(document.content)
    if not ids:
        raise InputError("the corpus has no documents; want at least one")
    return _Survey(frozenset(ids), frozenset(files), characters)


def _update(
    corpus: Corpus,
    survey: _Survey,
    store: Store,
    embedder: Embedder,
    *,
    sync: bool,
    on_progress: Callable[[Progress], None] | None,
) -> IndexReport:
    report = IndexReport()
    progress = Progress(0, len(survey.ids), 0, survey.characters)
    report_progress = on_progress or (lambda _: None)
    report_progress(progress)
    window = _Window(store, embedder)
    for page in _pages(corpus):
        work = _compare(page, store)
        if work.relabelled:
            store.upsert(work.relabelled, store.vectors_of([document.id for document in work.relabelled]))
        report = _count(report, work)
        progress = _advance(progress, [*work.unchanged, *work.relabelled])
        for done in window.take([*work.new, *work.changed]):
            progress = _advance(progress, done)
            report_progress(progress)
        report_progress(progress)
    progress = _advance(progress, window.flush())
    report_progress(progress)
    return replace(report, deleted=_delete_missing(survey, store, sync=sync))


class _Window:
    """Documents that are embedded and committed together; their number adapts to the time that takes."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._waiting: list[Document] = []
        self._size = _FIRST_WINDOW

    def take(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        """Add documents and yield those that were committed, window by window."""
        for document in documents:
            self._waiting.append(document)
            if len(self._waiting) >= self._size:
                yield self.flush()

    def flush(self) -> list[Document]:
        """Embed and commit the waiting documents, and return them."""
        done, self._waiting = self._waiting, []
        if not done:
            return done
        start = time.monotonic()
        self._store.upsert(done, self._embedder.encode_documents([document.content for document in done]))
        took = time.monotonic() - start
        if took < _SHORT_S:
            self._size = min(2 * self._size, _LARGEST_WINDOW)
        elif took > _LONG_S:
            self._size = max(self._size // 2, _SMALLEST_WINDOW)
        return done


def _pages(corpus: Corpus) -> Iterator[list[Document]]:
    page: list[Document] = []
    for document in corpus:
        page.append(document)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _compare(page: list[Document], store: Store) -> _Work:
    """Compare the documents of a page with those stored under their ids."""
    stored = {document.id: document for document in store.get([document.id for document in page])}
    work = _Work([], [], [], [])
    for document in page:
        old = stored.get(document.id)
        if old is None:
            work.new.append(document)
        elif old.content != document.content:
            work.changed.append(document)
        elif old.metadata != plain_metadata(document.metadata, document_id=document.id):
            work.relabelled.append(document)
        else:
            work.unchanged.append(document)
    return work


def _count(report: IndexReport, work: _Work) -> IndexReport:
    return replace(
        report,
        added=report.added + len(work.new),
        replaced=report.replaced + len(work.changed),
        relabelled=report.relabelled + len(work.relabelled),
        unchanged=report.unchanged + len(work.unchanged),
    )


def _advance(progress: Progress, done: Iterable[Document]) -> Progress:
    lengths = [len(document.content) for document in done]
    return replace(progress, documents=progress.documents + len(lengths), characters=progress.characters + sum(lengths))


def _delete_missing(survey: _Survey, store: Store, *, sync: bool) -> int:
    """Delete what the corpus no longer has: without `sync` only passages of files that it still has."""
    if len(store) == len(survey.ids):
        return 0
    missing = (document for document in store if document.id not in survey.ids)
    return store.delete([document.id for document in missing if sync or _file_of(document) in survey.files])


def _file_of(document: Document) -> str | None:
    """Return the file that a document is a passage of; None for any other document."""
    path = document.metadata.get("path")
    return path if isinstance(path, str) and document.id.startswith(f"{path}#") else None
