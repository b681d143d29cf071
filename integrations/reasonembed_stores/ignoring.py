"""Which files of a source are read: its globs, --include and --exclude, and .gitignore files on request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Self

from reasonembed_rag.errors import InputError
from reasonembed_stores.sources import Source

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

__all__ = ["Choice", "ListingOptions"]


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """Which files of the sources are read; patterns are those of .gitignore, relative to the source."""

    include: tuple[str, ...] = ()
    """Only files that match one of these; all by default."""
    exclude: tuple[str, ...] = ()
    gitignore: bool = False
    """Whether files that .gitignore files name are left out."""

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            patterns = getattr(self, name)
            if isinstance(patterns, str):
                raise InputError(f"{name} is the string {patterns!r}; want a list of patterns")
            object.__setattr__(self, name, tuple(patterns))


@dataclass(frozen=True, slots=True)
class _Ignored:
    """A .gitignore file: its patterns hold below a folder."""

    base: str
    """Where the folder is in the source, "" or with a slash at the end."""
    above: str
    """For a folder above the source: the path from there to the source, with a slash at the end."""
    spec: GitIgnoreSpec

    def decides(self, name: str) -> bool | None:
        """Return whether the file ignores a path, None where it does not say."""
        if not name.startswith(self.base):
            return None
        return self.spec.check_file(self.above + name[len(self.base) :]).include


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read in one folder of a source."""

    patterns: tuple[tuple[str, ...], ...]
    """The globs of the source, part by part; none where all of it is meant."""
    globs: GitIgnoreSpec | None
    include: GitIgnoreSpec | None
    exclude: GitIgnoreSpec | None
    ignored: tuple[_Ignored, ...] | None
    """The .gitignore files that hold here, outermost first; None where they are not asked for."""

    @classmethod
    def of(cls, source: Source, options: ListingOptions) -> Self:
        """Return the choice at the root of a source; raises InputError for a pattern that is none."""
        patterns = () if source.whole else source.patterns
        return cls(
            tuple(tuple(pattern.split("/")) for pattern in patterns),
            _spec([f"/{pattern}" for pattern in patterns], name="the source"),
            _spec(options.include, name="include"),
            _spec(options.exclude, name="exclude"),
            _above(source.root) if options.gitignore else None,
        )

    def for_named_files(self) -> Self:
        """Return the choice for files that were named one by one."""
        return replace(self, patterns=(), globs=None)

    def within(self, folder: Path, name: str) -> Self:
        """Return the choice in a folder, which may have a .gitignore file of its own."""
        if self.ignored is None:
            return self
        spec = _read(folder / ".gitignore")
        return self if spec is None else replace(self, ignored=(*self.ignored, _Ignored(_base(name), "", spec)))

    def takes(self, name: str) -> bool:
        """Tell whether a file is read."""
        wanted = all(spec is None or spec.match_file(name) for spec in (self.globs, self.include))
        return wanted and not self._left_out(name)

    def enters(self, name: str) -> bool:
        """Tell whether a folder is listed: not where no glob may match anything in it."""
        parts = name.split("/")
        wanted = not self.patterns or any(_may_match(pattern, parts) for pattern in self.patterns)
        return wanted and not self._left_out(f"{name}/")

    def _left_out(self, name: str) -> bool:
        if self.exclude is not None and self.exclude.match_file(name):
            return True
        decided = (one.decides(name) for one in reversed(self.ignored or ()))
        return next((ignores for ignores in decided if ignores is not None), False)


def _may_match(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Tell whether a glob may match a folder or what is in it."""
    for wanted, part in zip(pattern, folder, strict=False):
        if wanted == "**":
            return True
        if not fnmatchcase(part, wanted):
            return False
    return True


def _spec(patterns: Iterable[str], *, name: str) -> GitIgnoreSpec | None:
    listed = list(patterns)
    if not listed:
        return None
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(listed)
    except ValueError as error:
        raise InputError(f"{name} {listed!r}: {error}; want patterns as in .gitignore, such as '*.md'") from error


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        if not path.is_file():
            return None
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give access, or leave gitignore out") from error
    return _spec(lines, name=str(path))


def _above(root: Path) -> tuple[_Ignored, ...]:
    """Return the .gitignore files above a source, up to the top of its repository; none outside of one."""
    folders = [root, *root.parents]
    top = next((place for place, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    found: list[_Ignored] = []
    for folder in reversed(folders[1 : top + 1]):
        spec = _read(folder / ".gitignore")
        if spec is not None:
            found.append(_Ignored("", f"{root.relative_to(folder).as_posix()}/", spec))
    return tuple(found)


def _base(name: str) -> str:
    return f"{name}/" if name else ""
