"""Where a paragraph, a list, a table or a code block that is too long for a passage is split."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from reasonembed_rag.passages.units import Units

__all__ = ["Fragment", "Fragments", "sentence_start", "token_fragments", "word_fragments"]

_SENTENCE_END = re.compile(r"[.!?][)\"'”’\]]*\s+(?=[^\sa-z])|[。！？]\s*")  # noqa: RUF001
_ANY_SENTENCE_END = re.compile(
    r"[.!?][)\"'\u201d\u2019\]]*\s+(?=[^\sa-z])"
    # ideographic, halfwidth, Devanagari, Burmese, Arabic, Urdu, Ethiopic, Khmer and Tibetan full stops
    r"|[\u3002\uff01\uff1f\uff61\u0964\u0965\u104b\u061f\u06d4\u1362\u17d4\u0f0d][\u201d\u2019\u300d\u300f\uff09)]*\s*"
)
_LINE_END = re.compile(r"\n\s*")
_LINE_START = re.compile(r"\n")
_PARAGRAPH_START = re.compile(r"\n(?:[^\S\n]*\n)+")
_BY_LINES = re.compile(r"\s*(?:[|+`~]|>>>|[-*] |\d+[.)] )")  # tables, fences, doctests, lists
_AFTER = frozenset(";,:)}]>|&/\u3001\uff0c\uff1b\uff1a\uff09\u3011\u300b\u2026\u060c\u061b")
"""Characters after which a line without spaces is split, such as minified code."""

_LONGEST_ROW = 160
"""In characters; repeating the names of more columns would leave little room for rows."""

_AT_PARAGRAPH, _AT_LINE, _WITHIN_LINE = 150, 200, 300
"""The costs of borders; see Fragment."""


class Fragment(NamedTuple):
    """The characters of a fragment, and what a passage's border before it costs: the higher, the worse the border.

    `context` is a heading for a passage that starts with the fragment: the names of a table's columns.
    """

    start: int
    end: int
    cost: int = 0
    context: str = ""


class Fragments(Protocol):
    """Split a block that is too long."""

    def __call__(self, text: str, whole: Fragment, units: Units, most: int) -> list[Fragment]:
        """Return its fragments in order, none empty, each of at most `most` units."""


def word_fragments(text: str, whole: Fragment, units: Units, most: int) -> list[Fragment]:
    """Split at sentence ends, else at line ends, else between words; python_reference was made like this."""
    by_lines = _BY_LINES.match(text, whole.start, whole.end) is not None
    parts = [whole]
    for pattern in (_LINE_END,) if by_lines else (_SENTENCE_END, _LINE_END):
        parts = _finer(text, parts, _Border(pattern, _AT_LINE), units, most)
    pieces = (piece for part in parts for piece in _anywhere(text, part, units, most, boundaries=_WORDS))
    return [piece._replace(cost=min(piece.cost, _AT_LINE)) for piece in pieces]


def token_fragments(text: str, whole: Fragment, units: Units, most: int) -> list[Fragment]:
    """Split code, lists and tables at blank lines and lines, prose at sentences and lines, both else between words.

    Lines keep their indentation. A line without words is split after punctuation, else between tokens.
    """
    by_lines = _BY_LINES.match(text, whole.start, whole.end) is not None
    first = _Border(_PARAGRAPH_START, _AT_PARAGRAPH) if by_lines else _Border(_ANY_SENTENCE_END, _AT_LINE)
    parts = [whole]
    for border in (first, _Border(_LINE_START, _AT_LINE)):
        parts = _finer(text, parts, border, units, most)
    pieces = [
        piece for part in parts for piece in _anywhere(text, part, units, most, boundaries=_WORDS_AND_PUNCTUATION)
    ]
    columns = _columns(text[whole.start : whole.end])
    return [*pieces[:1], *(piece._replace(context=columns) for piece in pieces[1:])]


def _columns(block: str) -> str:
    """Return the first row of a Markdown table without its outer bars; "" for anything else and for a long row."""
    first, _, rest = block.partition("\n")
    rule = rest[: rest.find("\n")].strip() if "\n" in rest else ""
    is_table = first.lstrip().startswith("|") and "-" in rule and set(rule) <= set("|:- ")
    columns = " ".join(first.strip().strip("|").split()) if is_table and len(first) <= _LONGEST_ROW else ""
    return columns.strip()


class _Border(NamedTuple):
    """What parts end with, and the cost of a passage's border there."""

    pattern: re.Pattern[str]
    cost: int


def _finer(text: str, parts: Sequence[Fragment], border: _Border, units: Units, most: int) -> list[Fragment]:
    """Split the parts that are too long at every border."""
    return [
        piece
        for part in parts
        for piece in (_parted(text, part, border) if units.count(part.start, part.end) > most else [part])
    ]


def _parted(text: str, part: Fragment, border: _Border) -> Iterator[Fragment]:
    cuts = [found.end() for found in border.pattern.finditer(text, part.start, part.end) if found.end() < part.end]
    return _trimmed(text, [part.start, *cuts, part.end], part, border.cost)


def _anywhere(
    text: str, part: Fragment, units: Units, most: int, *, boundaries: Sequence[_Boundary]
) -> Iterator[Fragment]:
    """Split a part into fragments of at most `most` units."""
    starts = units.within(part.start, part.end)
    if len(starts) <= most:
        return iter([part])
    edges, place = [part.start], 0
    while place + most < len(starts):
        place = _cut(text, starts, place, most, boundaries)
        edges.append(starts[place])
    return _trimmed(text, [*edges, part.end], part, _WITHIN_LINE)


def _cut(text: str, starts: Sequence[int], place: int, most: int, boundaries: Sequence[_Boundary]) -> int:
    """Return the last unit with a boundary before it in the second half of the next `most`, else the last that fits."""
    stop = place + most
    for is_boundary in boundaries:
        for unit in range(stop, place + most // 2, -1):
            if is_boundary(text, starts[unit]):
                return unit
    first = bisect_left(starts, starts[stop])  # the tokens of one character start at the same index
    return first if first > place else stop


def _is_word_boundary(text: str, index: int) -> bool:
    return text[index - 1].isspace() or text[index].isspace()


def _is_after_punctuation(text: str, index: int) -> bool:
    return text[index - 1] in _AFTER


_Boundary = Callable[[str, int], bool]
_WORDS: Sequence[_Boundary] = (_is_word_boundary,)
_WORDS_AND_PUNCTUATION: Sequence[_Boundary] = (_is_word_boundary, _is_after_punctuation)


def _trimmed(text: str, edges: Sequence[int], part: Fragment, cost: int) -> Iterator[Fragment]:
    """Yield what lies between edges without the whitespace around it; only lines keep that before them."""
    for a, b in pairwise(edges):
        piece = text[a:b].rstrip()
        first = a == part.start
        start = a if first or cost != _WITHIN_LINE else a + len(piece) - len(piece.lstrip())
        if piece:
            yield Fragment(start, a + len(piece), part.cost if first else cost)


def sentence_start(text: str, first: int, last: int) -> int:
    """Return the first start of a sentence in a slice, else of a line, else of a word; else its end."""
    for border in (_ANY_SENTENCE_END, _LINE_END, re.compile(r"\s+")):
        for found in border.finditer(text, first, last):
            if found.end() < last:
                return found.end()
    return last
