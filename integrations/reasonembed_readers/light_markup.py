"""Readers of AsciiDoc, Org and wiki text: their headings and listings become Markdown's, line by line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from reasonembed_readers.decoding import read_decoded
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["read_asciidoc", "read_org", "read_wiki_text"]

_ASCIIDOC_HEADING = re.compile(r"(={1,6})[ \t]+(\S.*)")
_ASCIIDOC_FENCE = re.compile(r"(-{4,}|\.{4,}|```+)(\w*)[ \t]*")
_ASCIIDOC_ATTRIBUTE = re.compile(r":!?[\w-]+!?:.*|//.*")
_ORG_HEADING = re.compile(r"(\*{1,6})[ \t]+(?:(?:TODO|DONE)[ \t]+)?(\S.*?)(?:[ \t]+:[\w@:]+:)?[ \t]*")
_ORG_FENCE = re.compile(r"[ \t]*#\+(begin|end)_(?:src|example)\b[ \t]*(\w*).*", re.IGNORECASE)
_ORG_TITLE = re.compile(r"#\+title:[ \t]*(\S.*)", re.IGNORECASE)
_ORG_COMMENT = re.compile(r"#(?:\+\w+:.*|[ \t].*)?|[ \t]*:(?:PROPERTIES|END):")
_WIKI_HEADING = re.compile(r"(={1,6})[ \t]*([^=\s].*?)[ \t]*\1[ \t]*")


def read_asciidoc(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a page of AsciiDoc, without its attributes and comments."""
    fence = ""

    def line(text: str) -> str:
        nonlocal fence
        found = _ASCIIDOC_FENCE.fullmatch(text)
        if found is not None and fence in {"", found[1]}:
            fence = "" if fence else found[1]
            return f"```{found[2]}"
        if fence:
            return text
        heading = _ASCIIDOC_HEADING.fullmatch(text)
        return f"{'#' * len(heading[1])} {heading[2]}" if heading else _ASCIIDOC_ATTRIBUTE.sub("", text)

    yield _by_lines(path, options, note, line)


def read_org(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a page of Org, its title above its headings, without its keywords and comments."""
    fenced = titled = False

    def line(text: str) -> str:
        nonlocal fenced, titled
        if found := _ORG_FENCE.fullmatch(text):
            fenced = found[1].lower() == "begin"
            return f"```{found[2] if fenced else ''}"
        if fenced:
            return text
        if found := _ORG_TITLE.fullmatch(text):
            titled = True
            return f"# {found[1]}"
        if found := _ORG_HEADING.fullmatch(text):
            return f"{'#' * (len(found[1]) + titled)} {found[2]}"
        return "" if _ORG_COMMENT.fullmatch(text) else text

    yield _by_lines(path, options, note, line)


def read_wiki_text(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield a page of a wiki."""

    def line(text: str) -> str:
        found = _WIKI_HEADING.fullmatch(text)
        return f"{'#' * len(found[1])} {found[2]}" if found else text

    yield _by_lines(path, options, note, line)


def _by_lines(path: Path, options: ReadOptions, note: Note, line: Callable[[str], str]) -> Part:
    return Part("\n".join(map(line, read_decoded(path, options, note).split("\n"))), line=1)
