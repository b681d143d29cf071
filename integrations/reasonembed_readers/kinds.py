"""Which reader reads a file: by its name, else by its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reasonembed_readers.parts import Note, Part, Reader, ReadOptions
from reasonembed_readers.rows import read_json_lines, read_parquet
from reasonembed_readers.texts import read_html, read_text

__all__ = ["SUFFIXES", "FileKind", "PassedOver", "file_kind", "read_file"]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of files that is read."""

    name: str
    """As the summary of a run counts it: Markdown, HTML, PDF."""
    reader: Reader


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that is not read, and why: an image, a program, or a kind whose package is not installed."""

    kind: str
    """As the summary counts it: .png, or "binary" where there is no suffix."""
    reason: str
    """What it is and what would read it, such as "pip install 'reasonembed-rag[files]'"."""


_TEXT = FileKind("text", read_text)
_HTML = FileKind("HTML", read_html)
_KINDS: Mapping[str, FileKind] = {
    ".htm": _HTML,
    ".html": _HTML,
    ".jsonl": FileKind("JSON Lines", read_json_lines),
    ".markdown": FileKind("Markdown", read_text),
    ".md": FileKind("Markdown", read_text),
    ".parquet": FileKind("Parquet", read_parquet),
    ".rst": FileKind("reStructuredText", read_text),
    ".txt": _TEXT,
    ".xhtml": _HTML,
}
SUFFIXES = tuple(sorted(_KINDS))


def file_kind(path: Path) -> FileKind | PassedOver:
    """Return how a file is read, or why it is not; only names and first bytes are looked at.

    Raises InputError for a file that cannot be opened.
    """
    kind = _KINDS.get(path.suffix.lower())
    return PassedOver(path.suffix.lower() or "binary", "not a kind that is read") if kind is None else kind


def read_file(
    path: Path, *, options: ReadOptions | None = None, on_note: Callable[[str], None] = lambda _: None
) -> Iterator[Part]:
    """Yield the parts of a file of a kind that is read, and none of one that is passed over.

    Raises InputError, naming path:line where there are lines, for a file that is damaged or cannot be opened, and
    MissingDependencyError where a package is needed.
    """
    kind = file_kind(path)
    note: Note = on_note
    if isinstance(kind, FileKind):
        yield from kind.reader(path, options or ReadOptions(), note)
