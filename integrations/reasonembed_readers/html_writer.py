"""Text with Markdown's headings, lists, tables and fences, written piece by piece."""

from __future__ import annotations

import re

__all__ = ["TextWriter"]

_INVISIBLE = {ord(sign): None for sign in "\u00ad\u200b\u2060\ufeff"}  # hyphens and breaks that do not show
_TICKS = re.compile(r"^\s*(`{3,})", re.MULTILINE)
_LINE, _BLANK = 1, 2


class TextWriter:
    """Collects inline text and blocks; white space is that of a page, not of its source."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._break = 0
        self._space = False
        self._indents: list[str] = []
        self._prefix = ""  # of the next line, which has no text yet
        self._in_heading = False

    def words(self, text: str) -> None:
        """Add inline text; runs of white space are one space."""
        if not text.isascii():
            text = text.translate(_INVISIBLE)
        words = text.split()
        if not words:
            self._space = self._space or bool(text)
            return
        self._begin(space=text[0].isspace())
        self._out.append(" ".join(words))
        self._space = text[-1].isspace()

    def space(self) -> None:
        """Keep what comes apart from what was."""
        self._space = True

    def line(self) -> None:
        """End the line; a heading goes on, as it has one line."""
        if self._in_heading:
            self._space = True
        else:
            self._break = max(self._break, _LINE)

    def block(self) -> None:
        """End the block, a heading too, so that one that is never closed is not the whole page."""
        if not self._prefix:
            self._break = _BLANK
            self._in_heading = False

    def open_heading(self, level: int) -> None:
        """Begin a heading, never indented, as it would not be one."""
        self._break = _BLANK
        self._prefix = "#" * level + " "
        self._in_heading = True

    def close_heading(self) -> None:
        """End a heading; one without text is left out."""
        self._prefix = ""
        self.block()

    def open_item(self, marker: str) -> None:
        """Begin an item of a list."""
        self.line()
        self._prefix = "".join(self._indents) + marker
        self._indents.append(" " * len(marker))

    def open_indent(self, indent: str) -> None:
        """Begin a description, indented under its term."""
        self._prefix = ""
        self.block()
        self._indents.append(indent)

    def close_indent(self) -> None:
        """End an item or a description."""
        self._indents.pop()
        self._prefix = ""
        self._in_heading = False
        self.line()

    def fenced(self, text: str, language: str) -> None:
        """Add preformatted text in a fence that is longer than those in it."""
        text = text.strip("\n").rstrip()
        if text.strip():
            fence = max(("```", *(f"{ticks}`" for ticks in _TICKS.findall(text))), key=len)
            self.lines([f"{fence}{language}", *text.split("\n"), fence])

    def lines(self, lines: list[str]) -> None:
        """Add lines as they are, as a block."""
        self.block()
        self._begin(space=False)
        indent = "".join(self._indents)
        self._out.append(f"\n{indent}".join(lines))
        self.block()

    def text(self) -> str:
        """Return all that was written."""
        return "".join(self._out).strip()

    def _begin(self, *, space: bool) -> None:
        if self._break or self._prefix or not self._out:
            breaks = max(self._break, _LINE) if self._out else 0
            self._out.append("\n" * breaks + (self._prefix or "".join(self._indents)))
        elif space or self._space:
            self._out.append(" ")
        self._break, self._prefix, self._space = 0, "", False
