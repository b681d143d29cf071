"""Read and split the files of a run into a spool, so that every bad one is known before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reasonembed_rag.errors import InputError, MissingDependencyError, ReasonEmbedError
from reasonembed_readers import Part, PassedOver, read_file
from reasonembed_stores.citations import origin_of
from reasonembed_stores.file_plan import FilePlan, FileToRead, known_document, reason_of
from reasonembed_stores.index_report import BadFile
from reasonembed_stores.readers import FileCorpus
from reasonembed_stores.source_state import KnownDocument, KnownFile, SourceState
from reasonembed_stores.splitting import FileSplitter, SplitterError
from reasonembed_stores.spool import DocumentSpool, FileDocument
from reasonembed_stores.store import Store

__all__ = ["Reading", "read_files"]

_PAGE = 500
"""Documents whose ids are looked up at once."""


@dataclass(slots=True)
class Reading:
    """What was read of the files of a run."""

    spool: DocumentSpool
    files: list[KnownFile] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """The number of documents of each file."""
    notes: list[tuple[KnownFile, str]] = field(default_factory=list)

    def documents(self) -> Iterator[KnownDocument]:
        """Yield what is recorded of each document."""
        names = (file.name for file, count in zip(self.files, self.counts, strict=True) for _ in range(count))
        for one, name in zip(self.spool, names, strict=True):
            yield known_document(one, name)


def read_files(
    plan: FilePlan,
    state: SourceState,
    store: Store | None,
    splitter: FileSplitter,
    spool: DocumentSpool,
    *,
    corpus: FileCorpus,
    on_file: Callable[[int], None],
) -> Reading:
    """Read the files of a plan; one that cannot be read is left out as a whole and added to the bad ones of the plan.

    For a strict corpus the first one raises InputError. `on_file` is called with the number of files so far.
    """
    reading = Reading(spool)
    ids = _Ids(plan, state, store)
    for number, file in enumerate(plan.to_read):
        mark, boilerplate = spool.size, splitter.boilerplate
        notes: list[str] = []
        problem: str | None = None
        try:
            parts = _encodable(read_file(file.path, options=corpus.reading, on_note=notes.append), file.path)
            for one in ids.checked(splitter.documents(parts, file.known.name), file):
                _add(one, spool, file.path)
        except MissingDependencyError as error:
            plan.passed_over[file.known.name] = PassedOver(file.path.suffix or "binary", str(error))
            problem = str(error) if file.known.name in plan.known else None
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything in the libraries that read it
            problem = _problem(error, file.path)
        else:
            reading.files.append(file.known)
            reading.counts.append(spool.size.documents - mark.documents)
            if not reading.counts[-1] and not notes:
                notes.append("is empty" if splitter.boilerplate == boilerplate else "has nothing but boilerplate")
            same = (note.removeprefix(f"{file.path}: ") for note in notes)  # so that those of many files are counted
            reading.notes += [(file.known, note) for note in dict.fromkeys(same)]
            continue
        finally:
            on_file(number + 1)
        spool.rewind(mark)
        splitter.boilerplate = boilerplate
        ids.forget(file)
        if problem is not None:
            if corpus.strict:
                raise InputError(problem)
            plan.passed_over.pop(file.known.name, None)
            plan.bad.append(BadFile(file.known.name, problem))
    plan.messages += ids.taken_over()
    return reading


def _problem(error: Exception, path: Path) -> str:
    """Return why a file could not be read; raises the error again if the model or the settings are at fault."""
    if isinstance(error, SplitterError):
        raise error
    if isinstance(error, InputError):
        return _placed(str(error), path)
    if isinstance(error, ReasonEmbedError):
        raise error
    return reason_of(error, path)


def _placed(message: str, path: Path) -> str:
    return message if str(path) in message else f"{path}: {message}"


def _encodable(parts: Iterable[Part], path: Path) -> Iterator[Part]:
    """Yield the parts; raises InputError for a text that is not Unicode, before a tokenizer stumbles over it."""
    for part in parts:
        try:
            part.text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{_place(path, part.line)}: {error.object[error.start]!r} is not Unicode text ({error.reason}); "
                "decode it again"
            ) from error
        yield part


def _add(one: FileDocument, spool: DocumentSpool, path: Path) -> None:
    """Add a document to the spool; the error for one that cannot be stored names its place."""
    try:
        spool.add(one)
    except InputError as error:
        raise InputError(f"{_place(path, one.line)}: {error}") from error


class _Ids:
    """The ids of the run so far, each with its file and line."""

    def __init__(self, plan: FilePlan, state: SourceState, store: Store | None) -> None:
        self._state = state
        self._store = store
        self._kept = {*plan.unchanged, *(bad.name for bad in plan.bad)}
        self._seen: dict[str, tuple[FileToRead, int | None]] = {}
        self._own: list[str] = []
        self._elsewhere = plan.known.keys() - plan.gone - {file.known.name for file in plan.to_read}
        self._taken: dict[str, str] = {}
        """The files of other runs by the ids of theirs that a file of this run has now."""

    def taken_over(self) -> list[str]:
        """Return what is told of documents that take the place of those of files that this run does not read."""
        if not self._taken:
            return []
        identity, owner = next(iter(self._taken.items()))
        count = f"{len(self._taken):,} documents" if len(self._taken) > 1 else "a document"
        told = f"same ids: {count} of files that this run does not read, such as {identity!r} of {owner}, gave way"
        return [told]

    def checked(self, documents: Iterable[FileDocument], file: FileToRead) -> Iterator[FileDocument]:
        """Yield the documents of a file; raises InputError for an id that another document has."""
        self._own = []
        page: list[FileDocument] = []
        for one in documents:
            identity = one.document.id
            if identity in self._seen:
                raise self._repeated(identity, file, one.line, *self._seen[identity])
            self._seen[identity] = (file, one.line)
            self._own.append(identity)
            page.append(one)
            if len(page) == _PAGE:
                yield from self._not_kept(page, file)
                page = []
        yield from self._not_kept(page, file)

    def forget(self, file: FileToRead) -> None:
        """Free the ids of the last file, which is left out."""
        for identity in self._own:
            del self._seen[identity]
            self._taken.pop(identity, None)
        self._kept.add(file.known.name)

    def _not_kept(self, page: list[FileDocument], file: FileToRead) -> list[FileDocument]:
        """Return a page; raises InputError for an id of a file that is not read in this run and keeps its documents."""
        owners: Mapping[str, str] = self._state.owners([one.document.id for one in page])
        for one in page:
            owner = owners.get(one.document.id, file.known.name)
            if owner != file.known.name and owner in self._kept:
                raise InputError(_told(one.document.id, _place(file.path, one.line), self._stored(one, owner)))
            if owner != file.known.name and owner in self._elsewhere:
                self._taken[one.document.id] = owner
        return page

    def _stored(self, one: FileDocument, owner: str) -> str:
        """Return the place of the stored document with the id of another one."""
        stored = self._store.get([one.document.id]) if self._store is not None else []
        return (origin_of(stored[0]).location if stored else "") or owner

    @staticmethod
    def _repeated(
        identity: str, file: FileToRead, line: int | None, other: FileToRead, other_line: int | None
    ) -> InputError:
        return InputError(_told(identity, _place(file.path, line), _place(other.path, other_line)))


def _place(path: Path, line: int | None) -> str:
    return f"{path}:{line}" if line is not None else str(path)


def _told(identity: str, place: str, other: str) -> str:
    return f"{place}: document id {identity!r} occurs in {other} too; ids must be unique: rename or drop one"
