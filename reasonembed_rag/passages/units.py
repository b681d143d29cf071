"""The units in which the length of a passage is counted: words, or a model's tokens."""

from __future__ import annotations

import re
import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["TokenSpans", "Units", "count_words", "estimated_spans", "token_units", "word_units"]

# Chinese, Japanese and Korean are written without spaces: each of their characters counts as a word.
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_ESTIMATED = re.compile(r"[A-Za-z0-9]{1,4}|\S")
_JOINER = "\u200d"
_SEGMENT = 1 << 16
"""Characters tokenised at once."""
_LONGEST_CLUSTER = 32
"""Characters: a letter with more accents is split."""
_LONGEST_TOKEN = 16
"""Maximum characters of a unit: a tokenizer may map an unknown run of any length to one token."""


class TokenSpans(Protocol):
    """Return the character spans of a model's tokens."""

    def __call__(self, texts: Sequence[str]) -> Sequence[Sequence[tuple[int, int]]]:
        """Return for each text the start and end of its tokens in characters, in order, without special tokens."""


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a text by the indices of their first characters, ascending."""

    starts: Sequence[int]

    def count(self, start: int, end: int) -> int:
        """Return the number of units that start in a slice of the text."""
        return bisect_left(self.starts, end) - bisect_left(self.starts, start)

    def within(self, start: int, end: int) -> Sequence[int]:
        """Return the starts that are in a slice of the text."""
        return self.starts[bisect_left(self.starts, start) : bisect_left(self.starts, end)]

    def back(self, number: int, start: int, end: int) -> int:
        """Return where the last units of a slice start, or all of them if there are not so many; its end for none."""
        last = bisect_left(self.starts, end)
        first = max(bisect_left(self.starts, start), last - number)
        return self.starts[first] if first < last else end


def count_words(text: str) -> int:
    """Count the words of a text; each Chinese, Japanese or Korean character is one."""
    return sum(1 for _ in _WORD.finditer(text))


def word_units(text: str) -> Units:
    """Return the words of a text as units."""
    return Units([found.start() for found in _WORD.finditer(text)])


def estimated_spans(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Estimate the tokens of a model whose tokenizer is unknown: at most four Latin letters or digits are one."""
    return [[found.span() for found in _ESTIMATED.finditer(text)] for text in texts]


def token_units(text: str, spans: TokenSpans) -> Units:
    """Return the tokens of a text as units; one of more than 16 characters counts as several.

    Long texts are tokenised in parts, so that neither time nor memory grows faster than the text. Where a token starts
    within a character and its accents, or within an emoji of several characters, its unit starts where these do.
    """
    starts = array("q")
    for first, end in _segments(text):
        (found,) = spans([text[first:end]])
        inner = (start for a, b in found for start in _pieces(first + a, first + b))
        starts.extend(sorted(_base(text, start) for start in inner))
    return Units(starts)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Yield the parts of a text to tokenise, split at line ends, else at spaces, else anywhere."""
    first = 0
    while first < len(text):
        end = min(first + _SEGMENT, len(text))
        if end < len(text):
            middle = first + _SEGMENT // 2
            line, space = text.rfind("\n", middle, end), text.rfind(" ", middle, end)
            end = next((cut for cut in (line, space) if cut >= 0), _base(text, end))
        yield first, end
        first = end


def _pieces(first: int, end: int) -> Iterator[int]:
    yield first
    yield from range(first + _LONGEST_TOKEN, end, _LONGEST_TOKEN)


def _base(text: str, index: int) -> int:
    """Return the start of the character with accents, or of the emoji, that the index is within."""
    lowest = max(0, index - _LONGEST_CLUSTER)
    base = index
    while base > lowest and _continues(text, base):
        base -= 1
    return base if base > lowest or base == 0 else index


def _continues(text: str, index: int) -> bool:
    """Return whether a character belongs to the one before it: an accent, a vowel sign, a part of an emoji."""
    if index >= len(text):
        return False
    character = text[index]
    return text[index - 1] == _JOINER or (
        character >= "\u0300"
        and (
            character == _JOINER
            or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
            or "\U000e0020" <= character <= "\U000e007f"  # tags of flags
            or unicodedata.category(character)[0] == "M"
        )
    )
