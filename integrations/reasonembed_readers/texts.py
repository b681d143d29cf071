"""Readers of prose: plain text, Markdown, reStructuredText and HTML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.html_text import html_to_text
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["read_html", "read_text"]


def read_text(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a whole file of text."""
    yield Part(read_decoded(path, options, note), line=1)


def read_html(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the visible text of a web page."""
    yield Part(html_to_text(read_decoded(path, options, note)))
