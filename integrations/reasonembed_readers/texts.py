"""Readers of prose: plain text, Markdown, reStructuredText and HTML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasonembed_rag.errors import InputError
from reasonembed_readers.html_text import html_to_text
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["read_html", "read_text"]


def read_text(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield a whole file of text."""
    yield Part(_decoded(path), line=1)


def read_html(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield the visible text of a web page."""
    yield Part(html_to_text(_decoded(path)))


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give access to it") from error
