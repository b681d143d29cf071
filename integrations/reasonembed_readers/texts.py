"""Readers of prose: plain text, Markdown, reStructuredText and HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_unicode
from reasonembed_rag.passages import FrontMatter, read_front_matter
from reasonembed_readers.decoding import is_utf8, read_decoded
from reasonembed_readers.html_text import html_page
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["read_html", "read_markdown", "read_plain_text", "read_text"]

_COMMENTS = re.compile(r"^(#{1,6})[ \t]\S.*\n\1[ \t]\S", re.MULTILINE)
_FENCED = re.compile(r"^[ \t]*(```|~~~).*?^[ \t]*\1", re.MULTILINE | re.DOTALL)
_TERMINAL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|[^\n\x08]?\x08")
_HTML_HEAD = 4096
_TEXT_CHARSET = re.compile(
    rb"""<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.:-]+)|-\*-.*?\bcoding:\s*([\w.-]+)|\bcharset[=\s]\s*"?([\w.-]+)"""
    rb"""|\\usepackage\[([\w-]+)\]\{inputenc\}""",
    re.IGNORECASE,
)
_HTML_CHARSET = re.compile(
    rb"""<(?:meta\b[^>]*?\bcharset|\?xml\b[^>]*?\bencoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE
)


def read_text(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a whole file of text. Where several lines that begin with # follow one another, they are comments."""
    text = _shown(path, options, note)
    yield Part(text, line=1, outline=_COMMENTS.search(_FENCED.sub("", text)) is None)


def read_plain_text(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a whole file of settings, a log, or other text without headings."""
    yield Part(_shown(path, options, note), line=1, outline=False)


def _shown(path: Path, options: ReadOptions, note: Note) -> str:
    """Return a text as a terminal shows it: without colours, and without what is struck over."""
    text = read_decoded(path, options, note, declared=_declared_in_text)
    return _TERMINAL.sub("", text) if "\x1b" in text or "\b" in text else text


def read_markdown(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a page of Markdown; its front matter is its title and metadata."""
    text = read_decoded(path, options, note)
    front = _front_matter(text, name=str(path))
    line = text.count("\n", 0, front.end) + 1
    yield _page(text[front.end :], front.title, front.metadata, line=line)


def read_html(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the text of a web page; its title is the heading above it where no heading repeats it.

    Pages that a site generator makes have front matter too.
    """
    html = read_decoded(path, options, note, declared=_declared_in_html)
    front = _front_matter(html, name=str(path))
    try:
        page = html_page(html[front.end :])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not page.text and html.strip():
        note(f"{path}: has no text; if scripts make it, save the page from a browser")
    yield _page(page.text, page.title or front.title, {**page.metadata, **front.metadata})


def _page(text: str, title: str | None, metadata: Mapping[str, str | float], line: int | None = None) -> Part:
    """Return a text below its title; a title without a text is the text."""
    if not text.strip():
        return Part(title or "", metadata=metadata, line=line and 1)
    return Part(text, heading=(title,) if title else (), metadata=metadata, line=line)


def _front_matter(text: str, *, name: str) -> FrontMatter:
    """Return the front matter of a page, an empty one where there is none."""
    front = read_front_matter(text)
    if front is None:
        return FrontMatter(None, {}, 0)
    for key, value in front.metadata.items():
        check_unicode(f"{key}{value}", name=f"{name}: {key!r} of the front matter")
    finite = {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in front.metadata.items()
    }
    return replace(front, metadata=finite)


def _declared_in_text(data: bytes) -> str | None:
    """Return what a text that is not UTF-8 declares, as XML, gettext, TeX and the comments of editors do."""
    found = _TEXT_CHARSET.search(data[:_HTML_HEAD])
    return None if found is None or is_utf8(data) else next(filter(None, found.groups())).decode()


def _declared_in_html(data: bytes) -> str | None:
    found = _HTML_CHARSET.search(data[:_HTML_HEAD])
    return found[1].decode() if found else None
