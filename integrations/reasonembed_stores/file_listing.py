"""List the files of sources: links followed, each real file once, and nothing left out without a word."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reasonembed_rag.errors import InputError
from reasonembed_readers import PassedOver
from reasonembed_stores.ignoring import Choice, ListingOptions
from reasonembed_stores.sources import Source

__all__ = ["FoundFile", "Listing", "list_sources"]

_Identity = tuple[int, int]
"""The device and inode of a file or folder."""
_INDEX = frozenset({"manifest.json", "catalog.sqlite"})
"""The files by which the folder of an index is known."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file, and what the file system says of it."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(slots=True)
class Listing:
    """What is below a source, by its path there, with slashes; the source itself is the empty path."""

    files: dict[str, FoundFile] = field(default_factory=dict)
    passed_over: dict[str, PassedOver] = field(default_factory=dict)
    """Special files, links without a target or to what is read already, other indexes."""
    unreachable: dict[str, str] = field(default_factory=dict)
    """Folders that cannot be listed, files that cannot be looked at, links without a target, each with the reason.

    What was read there or below earlier must not be taken for deleted.
    """
    broken: set[str] = field(default_factory=set)
    """Those of the unreachable that are links without a target: they may well have had none before."""
    empty: set[str] = field(default_factory=set)
    """Folders without any entry, as a disk that is not mounted leaves them."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found so far in all sources, so that nothing is read twice."""

    folders: set[_Identity] = field(default_factory=set)
    files: set[_Identity] = field(default_factory=set)
    roots: set[_Identity] = field(default_factory=set)


def list_sources(
    sources: Sequence[Source], options: ListingOptions, *, skip: Path | None = None
) -> dict[Source, Listing]:
    """List sources; hidden files and the folder `skip` are left out.

    A link is followed where what it points to is not found otherwise, so that a link that is added changes no name.
    Raises InputError for a glob that no file matches, and for a source that is itself an index.
    """
    seen = _Seen()
    if skip is not None and skip.is_dir():
        seen.folders.add(_identity(skip.stat()))
    for source in sources:
        if source.whole:
            if all(os.path.lexists(source.root / name) for name in _INDEX):
                raise InputError(f"{source.root}: is an index that `reasonembed index` wrote; want documents to index")
            seen.roots.add(_identity(source.root.stat()))
    outer_first = sorted(sources, key=lambda source: (not source.whole, len(source.root.parts)))
    found = {source: _Walk(source, options, seen).run() for source in outer_first}
    for source, listing in found.items():
        if source.patterns and not source.whole and not (listing.files or listing.passed_over):
            raise InputError(f"{source.root}/{source.patterns[0]}: no file matches; want documents to index")
    return {source: found[source] for source in sources}


class _Walk:
    """The listing of one source."""

    def __init__(self, source: Source, options: ListingOptions, seen: _Seen) -> None:
        self._source = source
        self._seen = seen
        self._top = Choice.of(source, options)
        self._found = Listing()
        self._links: list[tuple[Path, str, Choice]] = []

    def run(self) -> Listing:
        if self._source.whole or self._source.patterns:
            self._tree(self._source.root, "", self._top)
            while self._links:
                links, self._links = sorted(self._links, key=lambda link: link[1]), []
                for path, name, choice in links:
                    self._link(path, name, choice)
        for name in self._source.files:
            self._named(self._source.root / name, name)
        found = self._found
        found.files = dict(sorted(found.files.items()))
        return found

    def _named(self, path: Path, name: str) -> None:
        """List a file that was named by itself, unless its folder was listed with it."""
        if name in self._found.files:
            return
        try:
            is_listed = (
                _identity(path.stat()) in self._seen.files and _identity(path.parent.stat()) in self._seen.folders
            )
        except OSError:
            is_listed = False
        if is_listed:
            self._found.passed_over[name] = PassedOver("file", "is in another source")
        else:
            self._link(path, name, self._top.for_named_files())

    def _tree(self, path: Path, name: str, choice: Choice) -> None:
        """List a folder and those below it, without recursion, as folders may be nested deeply; links wait."""
        waiting = [(path, name, choice)]
        while waiting:
            folder, inside, outer = waiting.pop()
            entries = self._entries(folder, inside)
            here = outer.within(folder, inside) if entries else outer
            for entry in entries:
                below = f"{inside}/{entry.name}" if inside else entry.name
                if entry.is_symlink():
                    self._links.append((Path(entry.path), below, here))
                elif not entry.is_dir(follow_symlinks=False):
                    self._file(entry.path, below, here, entry.stat)
                elif here.enters(below):
                    waiting.append((Path(entry.path), below, here))

    def _entries(self, path: Path, name: str) -> list[os.DirEntry[str]]:
        try:
            identity = _identity(path.stat())
            if identity in self._seen.folders:
                if not name:
                    self._found.passed_over[name] = PassedOver("folder", "is in another source")
                return []
            self._seen.folders.add(identity)
            with os.scandir(path) as entries:
                found = list(entries)
        except OSError as error:
            self._found.unreachable[name] = f"{path}: cannot be listed ({error.strerror}); give access to it"
            return []
        if not found:
            self._found.empty.add(name)
        if name and {entry.name for entry in found} >= _INDEX:
            self._found.passed_over[name] = PassedOver("index", "a folder that `reasonembed index` wrote")
            return []
        return [entry for entry in found if not entry.name.startswith(".")]

    def _link(self, path: Path, name: str, choice: Choice) -> None:
        try:
            status = path.stat()
        except OSError as error:
            target = f"{path} -> {path.readlink()}" if path.is_symlink() else str(path)
            self._found.broken.add(name)
            if choice.takes(name):
                self._found.passed_over[name] = PassedOver("broken link", "nothing is where it points to")
            self._found.unreachable[name] = (
                f"{target}: nothing is there ({error.strerror}); restore it, or remove the link"
            )
            return
        if not stat.S_ISDIR(status.st_mode):
            self._file(path, name, choice, path.stat)
        elif not choice.enters(name):
            return
        elif _identity(status) in self._seen.folders or _identity(status) in self._seen.roots:
            self._found.passed_over[name] = PassedOver("link", "to a folder that is read under its own name")
        else:
            self._tree(path, name, choice)

    def _file(self, path: str | Path, name: str, choice: Choice, look: Callable[[], os.stat_result]) -> None:
        if not choice.takes(name):
            return
        try:
            status = look()
        except FileNotFoundError:
            return  # it was deleted while the folder was listed
        except OSError as error:
            self._found.unreachable[name] = f"{path}: cannot be read ({error.strerror}); give access to it"
            return
        if not stat.S_ISREG(status.st_mode):
            self._found.passed_over[name] = PassedOver("special file", "a pipe, socket or device is never opened")
        elif _identity(status) in self._seen.files and Path(path).is_symlink():
            self._found.passed_over[name] = PassedOver("link", "to a file that is read under its own name")
        else:
            self._seen.files.add(_identity(status))
            self._found.files[name] = FoundFile(
                Path(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
            )


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
