"""The outline of a text: its lines, fenced blocks, headings and sections.

Headings are Markdown's (`## Title`) and reStructuredText's (a title underlined with ====, ----, ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["Line", "Section", "Trail", "opens_fence", "plain_section", "runs_of", "sections_of"]

_ADORNMENT = re.compile(r"([=\-~^*\"'`+#:.<>_])\1{2,}\s*")
_ATX = re.compile(r"(#{1,6})[ \t]+(\S.*?)(?:[ \t]+#+)?\s*")
_RUBRIC = re.compile(r"-\[ (.+) \]-\s*")  # how Sphinx writes "Footnotes" in plain text
_LONGEST_HEADING = 400
"""In characters; a longer line is text even if it is marked as a heading."""
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^`]*")

Trail = tuple[tuple[int, str], ...]
"""The (level, title) of each heading above a text, outermost first."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its line break, and the index of its first character."""

    text: str
    start: int

    @property
    def blank(self) -> bool:
        """Whether the line is empty or whitespace."""
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Section:
    """The lines of a heading and of what is below it, up to the next heading."""

    trail: Trail
    heading: Sequence[Line]
    body: Sequence[Line]

    @property
    def titles(self) -> tuple[str, ...]:
        """The titles of the trail, without repetitions of the title above."""
        titles = [title for _, title in self.trail]
        return tuple(title for place, title in enumerate(titles) if place == 0 or title != titles[place - 1])


@dataclass(frozen=True, slots=True)
class _Heading:
    title: str
    style: str
    lines: int


def sections_of(text: str, *, start: int = 0, title: str | None = None) -> list[Section]:
    """Split a text at its headings, from the character `start` on; `title` is a heading above all of them.

    The level of an underline is found by order of appearance, as docutils does.
    """
    lines = _lines(text, start)
    fenced = _fenced(lines)
    levels: dict[str, int] = {}
    sections: list[Section] = []
    trail: Trail = ((0, title),) if title is not None else ()
    heading = body = number = 0
    while number < len(lines):
        found = None if fenced[number] else _heading(lines, number)
        if found is None:
            number += 1
            continue
        sections.append(Section(trail, lines[heading:body], lines[body:number]))
        level = _level(found.style, levels, trail[-1][0] if trail else 0)
        trail = (*(above for above in trail if above[0] < level), (level, found.title))
        heading, body = number, number + found.lines
        number = body
    return [*sections, Section(trail, lines[heading:body], lines[body:])]


def plain_section(text: str) -> Section:
    """Return the whole of a text that has no headings, such as code, where # begins a comment."""
    return Section((), (), _lines(text, 0))


def _lines(text: str, start: int) -> list[Line]:
    lines = text[start:].splitlines(keepends=True)
    starts = accumulate((len(line) for line in lines), initial=start)
    return [Line(line, start) for line, start in zip(lines, starts, strict=False)]


def _fenced(lines: Sequence[Line]) -> list[bool]:
    """Return for each line whether it is in a fenced block, fences included; a fence that is never closed is text."""
    fenced = [False] * len(lines)
    never_closed: set[str] = set()  # so that text full of fences is not searched to its end for each
    number = 0
    while number < len(lines):
        mark = _FENCE.fullmatch(lines[number].text)
        close = _closing(lines, number, mark[1]) if mark and mark[1] not in never_closed else None
        if mark and close is None:
            never_closed.add(mark[1])
        if close is not None:
            fenced[number : close + 1] = [True] * (close + 1 - number)
            number = close
        number += 1
    return fenced


def _closing(lines: Sequence[Line], opening: int, mark: str) -> int | None:
    for number in range(opening + 1, len(lines)):
        stripped = lines[number].text.strip()
        if stripped.startswith(mark) and not stripped.strip(mark[0]):
            return number
    return None


def _heading(lines: Sequence[Line], number: int) -> _Heading | None:
    """Return the heading that begins at this line, if one does."""
    text = lines[number].text
    if len(text) > _LONGEST_HEADING:
        return None
    if atx := _ATX.fullmatch(text):
        return _Heading(atx[2], atx[1], lines=1)
    if rubric := _RUBRIC.fullmatch(text):
        return _Heading(rubric[1], "##", lines=1)
    if number and not _ends_what_was(lines[number - 1].text):
        return None
    return _overlined(lines[number : number + 3]) or _underlined(lines[number : number + 2])


def _ends_what_was(text: str) -> bool:
    """Return whether a title may follow this line: it is blank or the end of a heading."""
    return not text.strip() or bool(_ATX.fullmatch(text[:_LONGEST_HEADING]) or _ADORNMENT.fullmatch(text))


def _overlined(lines: Sequence[Line]) -> _Heading | None:
    if len(lines) < 3:
        return None
    over, title, under = (line.text.strip() for line in lines)
    if not title or over != under or not _ADORNMENT.fullmatch(over) or _ADORNMENT.fullmatch(title):
        return None
    return _Heading(title, f"over {over[0]}", lines=3)


def _underlined(lines: Sequence[Line]) -> _Heading | None:
    """Find a title and its underline; Markdown lets === and --- be shorter than the title."""
    if len(lines) < 2 or lines[0].text[0].isspace():
        return None
    title, under = lines[0].text.strip(), lines[1].text.rstrip()
    if not _ADORNMENT.fullmatch(under) or _ADORNMENT.fullmatch(title):
        return None
    if under[0] not in "=-" and len(under) < len(title):
        return None
    return _Heading(title, f"under {under[0]}", lines=2)


def _level(style: str, levels: dict[str, int], current: int) -> int:
    """Return the level of a heading: what Markdown says, or one below where its underline was first seen."""
    return len(style) if style.startswith("#") else levels.setdefault(style, current + 1)


def runs_of(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Yield runs of lines between blank lines; a fenced block is one run, blank lines included."""
    fenced = _fenced(lines)
    run: list[Line] = []
    for number, line in enumerate(lines):
        border = number > 0 and fenced[number] != fenced[number - 1]
        if run and (border or (line.blank and not fenced[number])):
            yield run
            run = []
        if fenced[number] or not line.blank:
            run.append(line)
    if run:
        yield run


def opens_fence(line: Line) -> bool:
    """Whether a line opens a fenced block."""
    return _FENCE.fullmatch(line.text) is not None
