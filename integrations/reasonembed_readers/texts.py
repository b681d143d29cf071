"""Readers of prose: plain text, Markdown, reStructuredText and HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.html_text import html_page
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["read_html", "read_text"]

_HTML_HEAD = 4096
_HTML_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset|\?xml\b[^>]*?\bencoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)


def read_text(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a whole file of text."""
    yield Part(read_decoded(path, options, note), line=1)


def read_html(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the text of a web page; its title is the heading above it where no heading repeats it."""
    page = html_page(read_decoded(path, options, note, declared=_declared_in_html))
    yield Part(page.text, heading=(page.title,) if page.title else (), metadata=page.metadata)


def _declared_in_html(data: bytes) -> str | None:
    found = _HTML_CHARSET.search(data[:_HTML_HEAD])
    return found[1].decode() if found else None
