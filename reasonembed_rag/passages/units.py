"""The units in which the length of a passage is counted: words, or a model's tokens."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["TokenSpans", "Units", "count_words", "estimated_spans", "token_units", "word_units"]

# Chinese, Japanese and Korean are written without spaces: each of their characters counts as a word.
_WORD = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
_ESTIMATED = re.compile(r"[A-Za-z0-9]{1,4}|\S")
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


def count_words(text: str) -> int:
    """Count the words of a text; each Chinese, Japanese or Korean character is one."""
    return sum(1 for _ in _WORD.finditer(text))


def word_units(text: str) -> Units:
    """Return the words of a text as units."""
    return Units([found.start() for found in _WORD.finditer(text)])


def estimated_spans(texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Estimate the tokens of a model whose tokenizer is unknown: at most four Latin letters or digits are one."""
    return [[found.span() for found in _ESTIMATED.finditer(text)] for text in texts]


def token_units(text: str, spans: Iterable[tuple[int, int]]) -> Units:
    """Return the tokens of a text as units; one of more than 16 characters counts as several."""
    return Units(sorted({start for first, end in spans for start in _pieces(text, first, end)}))


def _pieces(text: str, first: int, end: int) -> Iterator[int]:
    """Yield the start of a token and the indices at which it may be split, never between a letter and its accents."""
    yield first
    for place in range(first + _LONGEST_TOKEN, end, _LONGEST_TOKEN):
        cut = place
        while cut < end and unicodedata.combining(text[cut]):
            cut += 1
        if cut < end:
            yield cut
