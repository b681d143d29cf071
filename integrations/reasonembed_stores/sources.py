"""What a user names to be indexed: folders, files and globs, merged by folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from reasonembed_rag.errors import InputError

__all__ = ["NamedSource", "Source", "as_remembered", "moved_from", "name_as_text", "parse_sources", "with_prefixes"]

_WILDCARDS = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Source:
    """A folder, and which of its files are meant: all, some by name, or those that match globs."""

    root: Path
    """Absolute, as the user wrote it: links in it are not resolved."""
    whole: bool = False
    files: tuple[str, ...] = ()
    """Files that were named one by one, relative to the root."""
    patterns: tuple[str, ...] = ()

    def covers(self, other: Source) -> bool:
        """Tell whether everything that another source of this root means is meant by this one, if it still exists."""
        if self.whole:
            return True
        left = [name for name in other.files if name not in self.files and os.path.lexists(other.root / name)]
        return not other.whole and not left and set(other.patterns) <= set(self.patterns)


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source and the prefix of the names of its files: empty, or a folder's name and a slash."""

    source: Source
    prefix: str


def parse_sources(paths: Iterable[str | Path]) -> tuple[Source, ...]:
    """Return the sources of paths and globs, one per folder, in the order given.

    Raises InputError for a path where nothing is, for a special file, and for no path at all.
    """
    merged: dict[Path, Source] = {}
    for path in paths:
        source = _parse(os.fspath(path))
        known = merged.get(source.root, Source(source.root))
        merged[source.root] = replace(
            known,
            whole=known.whole or source.whole,
            files=tuple(dict.fromkeys((*known.files, *source.files))),
            patterns=tuple(dict.fromkeys((*known.patterns, *source.patterns))),
        )
    if not merged:
        raise InputError("got no file or folder; want at least one to index")
    return tuple(merged.values())


def _parse(text: str) -> Source:
    if not text:
        raise InputError("got an empty path; want a file or folder to index, such as '.' for this folder")
    path = Path(os.path.abspath(text))  # noqa: PTH100 - resolve() would replace links by what they point to today
    try:
        if path.is_dir():
            return Source(path, whole=True)
        if path.is_file():
            return Source(path.parent, files=(path.name,))
    except OSError as error:
        raise InputError(f"{text}: cannot be reached ({error.strerror}); give access to it") from error
    if path.is_symlink():
        raise InputError(f"{text}: is a link to {path.readlink()}, where nothing is; restore it, or leave it out")
    if path.exists():
        raise InputError(f"{text}: is a special file; want a folder or a file with text")
    parts = path.parts
    fixed = next((place for place, part in enumerate(parts) if _WILDCARDS & set(part)), len(parts))
    root = Path(*parts[:fixed])
    if fixed == len(parts) or not root.is_dir():
        raise InputError(f"{text}: no such file or folder; want documents to index")
    return Source(root, patterns=("/".join(parts[fixed:]),))


def as_remembered(sources: Sequence[Source], remembered: Sequence[NamedSource]) -> tuple[Source, ...]:
    """Return the sources under the roots by which they are remembered, where these are the same folders."""
    roots = {one.source.root for one in remembered}
    return tuple(
        source
        if source.root in roots
        else replace(source, root=next((root for root in roots if _is_same(root, source.root)), source.root))
        for source in sources
    )


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def moved_from(
    sources: Sequence[Source], remembered: Sequence[NamedSource], known: Collection[str]
) -> NamedSource | None:
    """Return the remembered source that moved to where the only given one is; None where there is none.

    It is gone from where it was, and half of its files are in the new place at least.
    """
    if len(sources) != 1 or any(one.source.root == sources[0].root for one in remembered):
        return None
    for one in remembered:
        own = [name.removeprefix(one.prefix) for name in known if name.startswith(one.prefix)]
        found = sum(os.path.lexists(sources[0].root / name) for name in own)
        if own and 2 * found >= len(own) and not os.path.lexists(one.source.root):
            return one
    return None


def with_prefixes(
    sources: Sequence[Source], *, remembered: Sequence[NamedSource], known: Collection[str]
) -> Mapping[Path, str]:
    """Return a prefix for each root that keeps the names of its files apart from those of all other sources.

    A remembered source keeps its prefix, even if it moved. A single one has none; a further one has its folder's name.
    `known` are the names of files that the index has.
    """
    prefixes = {one.source.root: one.prefix for one in remembered}
    if moved := moved_from(sources, remembered, known):
        return {sources[0].root: moved.prefix}
    tops = {PurePosixPath(name).parts[0] for name in known}
    for source in sources:
        if source.root not in prefixes:
            alone = not prefixes and len(sources) == 1
            prefixes[source.root] = "" if alone else _free(source.root, {*prefixes.values()}, tops)
    return {source.root: prefixes[source.root] for source in sources}


def _free(root: Path, prefixes: set[str], tops: set[str]) -> str:
    base = name_as_text(root.name) or "root"
    number = 1
    while True:
        name = base if number == 1 else f"{base}-{number}"
        if f"{name}/" not in prefixes and name not in tops:
            return f"{name}/"
        number += 1


def name_as_text(name: str) -> str:
    r"""Return the name of a file as text that can be stored and shown: bytes that are not UTF-8 become \xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
