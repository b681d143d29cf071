"""Near-duplicates: texts that share most of their word trigrams, found by MinHash and verified exactly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from reasonembed_rag.errors import MissingDependencyError

__all__ = ["NEAR", "NearDuplicates", "content_digest", "plain", "shingles", "similarity"]

NEAR = 0.8
"""The least Jaccard similarity of word trigrams of near-duplicates."""

_WORD = re.compile(r"\w+")
_WIDTH = 3
_PERMUTATIONS = 128
_BANDS = (32, 4)
"""Bands and rows: a pair at 0.8 is missed once in 10^7; false positives are removed by exact counting."""


class NearDuplicates:
    """Find near-duplicates of known texts.

    Raises MissingDependencyError where datasketch is not installed.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        try:
            from datasketch import MinHash, MinHashLSH  # type: ignore[import-untyped]
        except ImportError as error:
            package, extra = "datasketch", "train"
            raise MissingDependencyError(package, extra) from error
        self._signature = MinHash
        self._shingles = [shingles(text) for text in texts]
        self._known = frozenset().union(*self._shingles)
        self._index = MinHashLSH(num_perm=_PERMUTATIONS, params=_BANDS)
        for number, known in enumerate(self._shingles):
            if known:
                self._index.insert(number, self._sketch(known))

    def holds(self, text: str) -> bool:
        """Return whether a text is a near-duplicate of a known text."""
        given = shingles(text)
        if len(given & self._known) < NEAR * max(1, len(given)):
            return False  # one known text cannot share more than all of them together
        return any(
            similarity(given, self._shingles[number]) >= NEAR for number in self._index.query(self._sketch(given))
        )

    def _sketch(self, parts: frozenset[str]) -> object:
        sketch = self._signature(num_perm=_PERMUTATIONS)
        sketch.update_batch([part.encode() for part in parts])
        return sketch


def shingles(text: str) -> frozenset[str]:
    """Return a text's word trigrams, ignoring case and punctuation; all its words as one if there are only two."""
    words = _WORD.findall(text.casefold())
    if len(words) < _WIDTH:
        return frozenset({" ".join(words)}) if words else frozenset()
    return frozenset(" ".join(words[start : start + _WIDTH]) for start in range(len(words) - _WIDTH + 1))


def similarity(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets of shingles."""
    return len(first & second) / len(first | second) if first or second else 1.0


def plain(text: str) -> str:
    """Return a text with normalised case and whitespace; copies are equal in it."""
    return " ".join(text.casefold().split())


def content_digest(text: str) -> bytes:
    """Return 16 bytes that are equal for copies."""
    return hashlib.blake2b(plain(text).encode(), digest_size=16).digest()
