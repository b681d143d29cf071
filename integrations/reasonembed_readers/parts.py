"""What a reader yields: parts of a file, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import InputError

__all__ = ["Note", "Part", "ReadOptions", "Reader"]


@dataclass(frozen=True, slots=True)
class Part:
    """A text of a file that is split by itself: a whole page of prose, a page of a PDF, a function, a row."""

    text: str
    """Markdown or plain text: headings as #, code in fences where it stands within prose."""
    id: str | None = None
    """The id that a row has of its own; None for a part of a text, whose passages are numbered in the file."""
    heading: tuple[str, ...] = ()
    """Titles above the text that are not in it, outermost first: the slide's, the class of a method, a table's name."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the file says of it: columns, front matter, the sender of a message. It never has bookkeeping of ours."""
    line: int | None = None
    """The line of the file, from 1, at which the text starts; None where the text is not the lines of a file."""
    page: int | None = None
    """The page or slide, from 1."""
    outline: bool = True
    """Whether the text has headings, as # Title or underlined; in code and settings, # begins a comment."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may say of the files; None and () let the readers find out."""

    text_columns: tuple[str, ...] = ()
    """The columns of CSV, TSV, JSON Lines and Parquet that are the text; by default `content` and the like."""
    id_column: str | None = None
    encoding: str | None = None
    """The encoding of every text file that does not declare one."""

    def __post_init__(self) -> None:
        if self.encoding is not None:
            _check_encoding(self.encoding)


Note = Callable[[str], None]
"""Called with what a user should know of a file that was read: the encoding that was guessed, pages without text."""

Reader = Callable[[Path, ReadOptions, Note], Iterator[Part]]
"""Yields the parts of a file; raises InputError, naming path:line where there are lines, for one that is damaged, and
MissingDependencyError where a package is needed."""


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
    except LookupError as error:
        raise InputError(f"encoding is {encoding!r}; want one that Python knows, such as utf-8 or cp1252") from error
