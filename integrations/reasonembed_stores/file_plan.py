"""Compare the files of a run with those that the index knows: which have to be read, and which are gone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, ReasonEmbedError
from reasonembed_readers import PassedOver, file_kind, unreadable_file
from reasonembed_stores.batch import encode_json
from reasonembed_stores.comparing import content_hash, pages_of
from reasonembed_stores.file_listing import FoundFile, Listing, list_sources
from reasonembed_stores.index_report import BadFile
from reasonembed_stores.readers import FileCorpus
from reasonembed_stores.source_state import KnownDocument, KnownFile, SourceState
from reasonembed_stores.sources import NamedSource, Source, as_remembered, moved_from, name_as_text, with_prefixes
from reasonembed_stores.spool import FileDocument
from reasonembed_stores.store import Store

__all__ = ["FilePlan", "FileToRead", "is_within", "known_document", "plan_files", "reason_of"]

_RECENT_NS = 2_000_000_000
"""A file may change again without a new time within this: file systems keep times as coarsely as that."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class FileToRead:
    """A file that is new or may have changed."""

    path: Path
    known: KnownFile
    """As it will be recorded."""


@dataclass(slots=True)
class FilePlan:
    """The files of a run by name."""

    sources: list[NamedSource] = field(default_factory=list)
    remembered: list[NamedSource] = field(default_factory=list)
    known: Mapping[str, KnownFile] = field(default_factory=dict)
    trusted: bool = False
    """Whether nobody else has written to the store since the last run."""
    to_read: list[FileToRead] = field(default_factory=list)
    unchanged: dict[str, KnownFile] = field(default_factory=dict)
    """As they are recorded."""
    touched: list[KnownFile] = field(default_factory=list)
    """Those of the unchanged whose time changed, as they will be recorded."""
    passed_over: dict[str, PassedOver] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    """Files and folders that cannot be looked at, links to nothing; with the reason."""
    bad: list[BadFile] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Files that the given sources had and have no more."""
    left_out: list[str] = field(default_factory=list)
    """Files that are there, but not among what is asked for now."""
    emptied: list[str] = field(default_factory=list)
    """Folders that are empty now, or sources none of whose files is left: is a disk not mounted?"""
    messages: list[str] = field(default_factory=list)

    @property
    def lost_sources(self) -> list[NamedSource]:
        """The remembered sources that are not given in this run, or not all of them."""
        given = {one.prefix: one.source for one in self.sources}
        return [one for one in self.remembered if one.prefix not in given or not _covers(given[one.prefix], one.source)]


def plan_files(corpus: FileCorpus, state: SourceState, store: Store | None, *, to: Path, trusted: bool) -> FilePlan:
    """List the sources and compare them with what is known.

    `trusted` says that nobody else has written to the store since; else its documents are compared with the state.
    Raises InputError for sources that are not there.
    """
    now = time.time_ns()
    plan = FilePlan(remembered=state.sources(), known=state.files(), trusted=trusted)
    sources = as_remembered(corpus.sources(), plan.remembered)
    listings = list_sources(sources, corpus.listing, skip=to)
    altered = set() if trusted or store is None else _altered(state, store)
    _name_sources(plan, sources)
    recipe = corpus.recipe()
    listed: dict[str, Path] = {}
    for named in plan.sources:
        for below, file in listings[named.source].files.items():
            this = _known(named.prefix, below, file, now, recipe)
            if this.name in listed:
                reason = f"{file.path}: its name {this.name} is that of {listed[this.name]} too; rename one of them"
                plan.bad.append(BadFile(this.name, name_as_text(reason)))
                continue
            listed[this.name] = file.path
            _plan_file(plan, file, this, altered=altered)
        _plan_others(plan, named, listings[named.source])
    _plan_gone(plan, listings, listed)
    return plan


def _covers(given: Source, remembered: Source) -> bool:
    """Tell whether a source is all that a remembered one of the same prefix was; it may have moved."""
    return given.whole if given.root != remembered.root else given.covers(remembered)


def _name_sources(plan: FilePlan, sources: tuple[Source, ...]) -> None:
    moved = moved_from(sources, plan.remembered, plan.known)
    if moved is not None:
        plan.messages.append(f"moved: {sources[0].root} takes the place of {moved.source.root}, which is gone")
    prefixes = with_prefixes(sources, remembered=plan.remembered, known=plan.known)
    plan.sources = [NamedSource(source, prefixes[source.root]) for source in sources]


def _known(prefix: str, below: str, file: FoundFile, now: int, recipe: str | None) -> KnownFile:
    mtime_ns = file.mtime_ns if file.mtime_ns < now - _RECENT_NS else -1
    name = prefix + name_as_text(below)
    return KnownFile(name, prefix, "", file.size, mtime_ns, file.ctime_ns, file.inode, None, recipe)


def _plan_file(plan: FilePlan, file: FoundFile, now: KnownFile, *, altered: Collection[str]) -> None:
    """Decide whether a file is read: its size, times and inode decide, then its bytes."""
    old = plan.known.get(now.name)
    try:
        if old is not None and old.content is not None and old.recipe == now.recipe and old.name not in altered:
            if now.mtime_ns != -1 and replace(now, kind=old.kind, content=old.content) == old:
                plan.unchanged[now.name] = old
                return
            if now.size == old.size and now.recipe is not None and _file_hash(file.path) == old.content:
                plan.unchanged[now.name] = replace(now, kind=old.kind, content=old.content)
                plan.touched += [plan.unchanged[now.name]] if plan.unchanged[now.name] != old else []
                return
        kind = file_kind(file.path)
        if isinstance(kind, PassedOver) and kind.is_not_installed and old is not None:
            plan.bad.append(BadFile(now.name, name_as_text(f"{file.path}: {kind.reason}")))  # its documents stay
        elif isinstance(kind, PassedOver):
            plan.passed_over[now.name] = kind
        else:
            plan.to_read.append(FileToRead(file.path, replace(now, kind=kind.name, content=_file_hash(file.path))))
    except (InputError, OSError) as error:
        plan.bad.append(BadFile(now.name, reason_of(error, file.path)))


def _file_hash(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def reason_of(error: Exception, path: Path) -> str:
    """Return why a file could not be read, with its path and, where it is known, the line."""
    if isinstance(error, ReasonEmbedError):
        return name_as_text(str(error))
    if isinstance(error, OSError):
        return name_as_text(str(unreadable_file(path, error)))
    return name_as_text(f"{path}: {type(error).__name__} while it was read: {error}")


def _plan_others(plan: FilePlan, named: NamedSource, found: Listing) -> None:
    """Take over what is no file to read, under the names that files have."""
    for below, reason in found.unreachable.items():
        name = named.prefix + name_as_text(below)
        plan.unreachable[name] = name_as_text(reason)
        if below not in found.broken or any(is_within(known, name) for known in plan.known):
            plan.bad.append(BadFile(name, name_as_text(reason)))
    for below, passed_over in found.passed_over.items():
        plan.passed_over[named.prefix + name_as_text(below)] = passed_over
    for bad in plan.bad:
        plan.passed_over.pop(bad.name, None)


def _plan_gone(plan: FilePlan, listings: Mapping[Source, Listing], listed: Collection[str]) -> None:
    """Find the files that the given sources no longer have, and folders that lost all of theirs."""
    for named in plan.sources:
        own = [name for name, file in plan.known.items() if file.prefix == named.prefix]
        missing = [name for name in own if name not in listed]
        missing = [name for name in missing if not any(is_within(name, one) for one in plan.unreachable)]
        gone = {name for name in missing if not _is_there(named.source.root / name.removeprefix(named.prefix))}
        plan.gone += [name for name in missing if name in gone]
        plan.left_out += [name for name in missing if name not in gone]
        if len(gone) == len(own) and (len(own) > 1 or not listings[named.source].files) and own:
            plan.emptied.append(str(named.source.root))
            continue
        for folder in listings[named.source].empty:
            if any(is_within(name, named.prefix + name_as_text(folder)) for name in gone):
                plan.emptied.append(str(named.source.root / folder))


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def is_within(name: str, folder: str) -> bool:
    """Tell whether a name is that of a file or folder, or is below it; everything is below the empty name."""
    return name == folder or name.startswith(f"{folder}/" if folder and not folder.endswith("/") else folder)


def known_document(one: FileDocument, file: str) -> KnownDocument:
    """Return what is recorded of a document of a file."""
    return KnownDocument(
        one.document.id, file, one.row, content_hash(one.document.content), _metadata_hash(one.document)
    )


def _metadata_hash(document: Document) -> bytes:
    return hashlib.blake2b(encode_json(dict(document.metadata)).encode(), digest_size=8).digest()


def _altered(state: SourceState, store: Store) -> set[str]:
    """Return the files whose documents are not in the store as they were recorded."""
    altered: set[str] = set()
    for page in pages_of((one for one in state.all_documents() if not one.stale), _PAGE):
        stored = {document.id: document for document in store.get([one.id for one in page])}
        for one in page:
            document = stored.get(one.id)
            if document is None or known_document(FileDocument(document, one.row), one.file) != one:
                altered.add(one.file)
    return altered
