"""English text to terms, as Lucene's EnglishAnalyzer makes them: words, no possessives, no stop words, Porter stems.

Word boundaries follow Unicode Annex 29 as Lucene's StandardTokenizer reads it: letters joined by an apostrophe, full
stop or colon and digits joined by a full stop, comma or semicolon stay one word; each Han or Hiragana character is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from reasonembed_rag.errors import MissingDependencyError

__all__ = ["STOP_WORDS", "Analyzer", "EnglishAnalyzer"]

_STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's English stop set."""

_CJK = "\u3005-\u3007\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = f"[^\\W{_CJK}]"
_MARK = "\u0300-\u036f\u200c\u200d"
_LETTER = f"[^\\W\\d_{_CJK}]"
_TOKEN = re.compile(
    f"[{_CJK}]|{_WORD}(?:{_WORD}|[{_MARK}]|(?<={_LETTER})['.:\u2019\u00b7](?={_LETTER})|(?<=\\d)['.,;\u2019](?=\\d))*"
)
_POSSESSIVE = re.compile("['\u2019\uff07][sS]$")
_REMEMBERED_WORDS = 2_000_000


class Analyzer(Protocol):
    """Turn texts into terms."""

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text in their order, repetitions kept."""


class EnglishAnalyzer:
    """Turn texts into lists of stemmed terms; each distinct word is stemmed once.

    Raises MissingDependencyError where PyStemmer is not installed.
    """

    def __init__(self) -> None:
        self._stem = _porter()
        self._term_of_word: dict[str, str | None] = {}

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text in their order, repetitions kept."""
        remembered = self._term_of_word
        terms: list[str] = []
        for word in _TOKEN.findall(text):
            try:
                term = remembered[word]
            except KeyError:
                term = self._term(word)
                if len(remembered) < _REMEMBERED_WORDS:
                    remembered[word] = term
            if term is not None:
                terms.append(term)
        return terms

    def _term(self, word: str) -> str | None:
        """Return a word's term, None for a stop word or bare underscores."""
        lowered = _POSSESSIVE.sub("", word).lower()
        if not lowered.strip("_") or lowered in STOP_WORDS:
            return None
        return self._stem(lowered)


def _porter() -> Callable[[str], str]:
    try:
        import Stemmer
    except ImportError as error:
        package, extra = "PyStemmer", "eval"
        raise MissingDependencyError(package, extra) from error
    stem: Callable[[str], str] = Stemmer.Stemmer("porter").stemWord
    return stem
