"""Words in any language to overlapping pieces of four letters, so that words match in part."""

from __future__ import annotations

import re

__all__ = ["GramAnalyzer"]

_WORD = re.compile(r"\w+")
_LETTERS = 4
_REMEMBERED_WORDS = 500_000


class GramAnalyzer:
    """Turn texts into the 4-grams of their words, in lower case, with the spaces around a word as letters of it.

    "lists" gives " lis", "list", "ists" and "sts ". It needs no stemmer, no stop words and no language,
    and finds parts of compounds, identifiers and misspelt words.
    """

    def __init__(self) -> None:
        self._grams_of_word: dict[str, list[str]] = {}

    def terms(self, text: str) -> list[str]:
        """Return the 4-grams of a text in their order, repetitions kept."""
        remembered = self._grams_of_word
        terms: list[str] = []
        for word in _WORD.findall(text.lower()):
            grams = remembered.get(word)
            if grams is None:
                grams = _grams(f" {word} ")
                if len(remembered) < _REMEMBERED_WORDS:
                    remembered[word] = grams
            terms += grams
        return terms


def _grams(word: str) -> list[str]:
    return [word[start : start + _LETTERS] for start in range(max(1, len(word) - _LETTERS + 1))]
