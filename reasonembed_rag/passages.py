"""The text splitter of the project: a text becomes passages that know their headings.

Headings are Markdown's (`## Title`) and reStructuredText's (a title underlined with ====, ----, ...). Paragraphs stay
whole where they fit; a code block, an indented block and a list keep the paragraph that introduces them; an entry such
as `str.split(sep=None)` with its indented description opens a passage of its own. Nothing is dropped: every passage is
a slice of the text, and what lies between two slices is blank or a heading of the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, zip_longest

from reasonembed_rag.errors import InputError

__all__ = ["Passage", "count_words", "split_passages"]

# Chinese, Japanese and Korean are written without spaces: each of their characters counts as a word.
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_SENTENCE_END = re.compile(r"[.!?][)\"'”’\]]*\s+(?=[^\sa-z])|[。！？]\s*")  # noqa: RUF001
_LINE_END = re.compile(r"\n\s*")
_ADORNMENT = re.compile(r"([=\-~^*\"'`+#:.<>_])\1{2,}\s*")
_ATX = re.compile(r"(#{1,6})[ \t]+(\S.*?)(?:[ \t]+#+)?\s*")
_RUBRIC = re.compile(r"-\[ (.+) \]-\s*")  # how Sphinx writes "Footnotes" in plain text
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[^`]*")
_SIGNATURE = re.compile(r"\s*(?:[a-z]+ )*[A-Za-z_][\w.]*\(.*[^.:;,!?\s]\s*")
_BY_LINES = re.compile(r"\s*(?:[|+`~]|>>>|[-*] |\d+[.)] )")  # tables, fences, doctests, lists


@dataclass(frozen=True, slots=True)
class Passage:
    """A slice of a text under its trail of headings, outermost first."""

    heading: tuple[str, ...]
    text: str

    @property
    def content(self) -> str:
        """Return what is embedded: the trail of headings, a blank line, the text."""
        return f"{' > '.join(self.heading)}\n\n{self.text}" if self.heading else self.text


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    start: int

    @property
    def blank(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class _Heading:
    title: str
    style: str
    lines: int


@dataclass(frozen=True, slots=True)
class _Block:
    """A paragraph, a fenced block, or a fragment of one that is too long."""

    start: int
    end: int
    words: int
    indent: int
    attached: bool  # belongs to the block before: a fenced block, or what a colon announces
    fragment: bool = False  # continues the paragraph of the block before
    signature: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    trail: tuple[tuple[int, str], ...]  # (level, title), outermost first
    heading: Sequence[_Line]
    body: Sequence[_Line]


def count_words(text: str) -> int:
    """Count the words of a text; each Chinese, Japanese or Korean character is one."""
    return sum(1 for _ in _WORD.finditer(text))


def split_passages(text: str, *, max_words: int = 160) -> list[Passage]:
    """Split a text in passages of at most max_words words, the trail of headings not counted.

    Raises InputError for max_words below 1.
    """
    if max_words < 1:
        raise InputError(f"max_words is {max_words}; want at least 1")
    sections = _sections(text)
    passages: list[Passage] = []
    for section, following in zip_longest(sections, sections[1:]):
        titles = tuple(title for _, title in section.trail)
        if blocks := _blocks(text, section.body, max_words):
            passages += _pack(text, blocks, titles, max_words)
        elif following is None or len(following.trail) <= len(section.trail):  # a heading with nothing below it
            passages += _pack(text, _blocks(text, section.heading, max_words), titles[:-1], max_words)
    return passages


def _sections(text: str) -> list[_Section]:
    """Cut the text at its headings; the level of an underline is found by order of appearance, as docutils does."""
    lines = _lines(text)
    fenced = _fenced(lines)
    levels: dict[str, int] = {}
    sections: list[_Section] = []
    trail: tuple[tuple[int, str], ...] = ()
    heading = body = number = 0
    while number < len(lines):
        found = None if fenced[number] else _heading(lines, number)
        if found is None:
            number += 1
            continue
        sections.append(_Section(trail, lines[heading:body], lines[body:number]))
        level = _level(found.style, levels, trail[-1][0] if trail else 0)
        trail = (*(above for above in trail if above[0] < level), (level, found.title))
        heading, body = number, number + found.lines
        number = body
    return [*sections, _Section(trail, lines[heading:body], lines[body:])]


def _lines(text: str) -> list[_Line]:
    lines = text.splitlines(keepends=True)
    starts = accumulate((len(line) for line in lines), initial=0)
    return [_Line(line, start) for line, start in zip(lines, starts, strict=False)]


def _fenced(lines: Sequence[_Line]) -> list[bool]:
    """Tell for each line whether it stands in a fenced block, fences included; a fence never closed is none."""
    fenced = [False] * len(lines)
    number = 0
    while number < len(lines):
        mark = _FENCE.fullmatch(lines[number].text)
        close = _closing(lines, number, mark[1]) if mark else None
        if close is not None:
            fenced[number : close + 1] = [True] * (close + 1 - number)
            number = close
        number += 1
    return fenced


def _closing(lines: Sequence[_Line], opening: int, mark: str) -> int | None:
    for number in range(opening + 1, len(lines)):
        stripped = lines[number].text.strip()
        if stripped.startswith(mark) and not stripped.strip(mark[0]):
            return number
    return None


def _heading(lines: Sequence[_Line], number: int) -> _Heading | None:
    """Return the heading that begins at this line, if one does."""
    text = lines[number].text
    if atx := _ATX.fullmatch(text):
        return _Heading(atx[2], atx[1], lines=1)
    if rubric := _RUBRIC.fullmatch(text):
        return _Heading(rubric[1], "##", lines=1)
    if number and not _ends_what_was(lines[number - 1].text):
        return None
    return _overlined(lines[number : number + 3]) or _underlined(lines[number : number + 2])


def _ends_what_was(text: str) -> bool:
    """Tell whether a title may stand right below this line: a blank one or the end of a heading."""
    return not text.strip() or bool(_ATX.fullmatch(text) or _ADORNMENT.fullmatch(text))


def _overlined(lines: Sequence[_Line]) -> _Heading | None:
    if len(lines) < 3:
        return None
    over, title, under = (line.text.strip() for line in lines)
    if not title or over != under or not _ADORNMENT.fullmatch(over) or _ADORNMENT.fullmatch(title):
        return None
    return _Heading(title, f"over {over[0]}", lines=3)


def _underlined(lines: Sequence[_Line]) -> _Heading | None:
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


def _blocks(text: str, lines: Sequence[_Line], max_words: int) -> list[_Block]:
    """Find the paragraphs and fenced blocks of a section, none longer than max_words."""
    blocks: list[_Block] = []
    for run in _runs(lines):
        start, end = run[0].start, run[-1].start + len(run[-1].text.rstrip())
        whole = text[start:end]
        fence = bool(_FENCE.fullmatch(run[0].text))
        announced = bool(blocks) and text[blocks[-1].start : blocks[-1].end].endswith(":")
        signature = run[0].text.strip() if all(_SIGNATURE.fullmatch(line.text) for line in run) else ""
        indent = len(whole) - len(whole.lstrip())
        block = _Block(start, end, count_words(whole), indent, fence or announced, signature=signature)
        blocks += [block] if block.words <= max_words else _fragments(text, block, max_words)
    return [_checked(block, follower) for block, follower in zip_longest(blocks, blocks[1:])]


def _checked(block: _Block, follower: _Block | None) -> _Block:
    """Take a signature back where no indented description follows it."""
    described = follower is not None and follower.indent > block.indent
    return block if described or not block.signature else replace(block, signature="")


def _runs(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """Yield runs of lines between blank lines; a fenced block is one run, blank lines included."""
    fenced = _fenced(lines)
    run: list[_Line] = []
    for number, line in enumerate(lines):
        border = number > 0 and fenced[number] != fenced[number - 1]
        if run and (border or (line.blank and not fenced[number])):
            yield run
            run = []
        if fenced[number] or not line.blank:
            run.append(line)
    if run:
        yield run


def _fragments(text: str, block: _Block, max_words: int) -> list[_Block]:
    """Cut an over-long block at sentence borders, else at line borders, else between words."""
    by_lines = _BY_LINES.match(text, block.start, block.end) is not None
    spans = [(block.start, block.end)]
    for border in (_LINE_END,) if by_lines else (_SENTENCE_END, _LINE_END):
        spans = [
            part for span in spans for part in (_cut(text, span, border) if _long(text, span, max_words) else [span])
        ]
    spans = [part for span in spans for part in _cut_words(text, span, max_words)]
    fragments = [replace(block, start=a, end=b, words=count_words(text[a:b]), fragment=True) for a, b in spans]
    return [replace(fragments[0], fragment=False), *fragments[1:]]


def _long(text: str, span: tuple[int, int], max_words: int) -> bool:
    return count_words(text[slice(*span)]) > max_words


def _cut(text: str, span: tuple[int, int], border: re.Pattern[str]) -> list[tuple[int, int]]:
    cuts = [found.end() for found in border.finditer(text, *span) if found.end() < span[1]]
    edges = [span[0], *cuts, span[1]]
    return [(a, a + len(text[a:b].rstrip())) for a, b in pairwise(edges)]


def _cut_words(text: str, span: tuple[int, int], max_words: int) -> list[tuple[int, int]]:
    words = list(_WORD.finditer(text, *span))
    if len(words) <= max_words:
        return [span]
    parts = [words[first : first + max_words] for first in range(0, len(words), max_words)]
    return [(span[0] if part is parts[0] else part[0].start(), part[-1].end()) for part in parts]


def _pack(text: str, blocks: Sequence[_Block], titles: tuple[str, ...], max_words: int) -> Iterator[Passage]:
    """Yield the passages of a section; one that begins inside an entry has the entry's signature in its trail."""
    start = 0
    entries: list[_Block] = []
    while start < len(blocks):
        stop = _border(blocks, start, max_words)
        entries = [entry for entry in entries if entry.indent < blocks[start].indent]
        signatures = tuple(entry.signature for entry in entries)
        yield Passage(titles + signatures, text[blocks[start].start : blocks[stop - 1].end])
        for block in blocks[start:stop]:
            entries = [entry for entry in entries if entry.indent < block.indent]
            entries += [block] if block.signature else []
        start = stop


def _border(blocks: Sequence[_Block], start: int, max_words: int) -> int:
    """Return where the passage that begins at start should end: the cheapest border that fits, the later at a tie."""
    fair = max_words // 4
    left = sum(block.words for block in blocks[start:])
    best, best_cost, words = start + 1, float("inf"), 0
    for stop in range(start + 1, len(blocks)):
        words += blocks[stop - 1].words
        if words > max_words:
            return best
        if words >= fair and blocks[stop].signature and not blocks[stop - 1].signature:
            return stop
        tiny = words < fair or left - words < fair
        cost = blocks[stop].indent + 100 * blocks[stop].attached + 200 * blocks[stop].fragment + 1000 * tiny
        if cost <= best_cost:
            best, best_cost = stop, cost
    return len(blocks) if left <= max_words else best
