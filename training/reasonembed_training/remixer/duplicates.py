"""Near copies: texts that share most of their word triples, found by MinHash and then counted exactly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from reasonembed_rag.errors import MissingDependencyError

__all__ = ["NEAR", "NearCopies", "fingerprint", "plain", "shingles", "similarity"]

NEAR = 0.8
"""Jaccard similarity of word triples from which on a text is a near copy."""

_WORD = re.compile(r"\w+")
_WIDTH = 3
_PERMUTATIONS = 128
_BANDS = (32, 4)
"""Texts at 0.8 go undetected once in 10^7; those that are less alike are told apart by counting."""


class NearCopies:
    """Know some texts, and tell which of others are near copies of one.

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
        """Return whether a text is a near copy of a known one."""
        asked = shingles(text)
        if len(asked & self._known) < NEAR * max(1, len(asked)):
            return False  # no known text alone can share what all of them together do not
        return any(
            similarity(asked, self._shingles[number]) >= NEAR for number in self._index.query(self._sketch(asked))
        )

    def _sketch(self, parts: frozenset[str]) -> object:
        sketch = self._signature(num_perm=_PERMUTATIONS)
        sketch.update_batch([part.encode() for part in parts])
        return sketch


def shingles(text: str) -> frozenset[str]:
    """Return a text's word triples, letter case and punctuation aside; all its words as one where they are fewer."""
    words = _WORD.findall(text.casefold())
    if len(words) < _WIDTH:
        return frozenset({" ".join(words)}) if words else frozenset()
    return frozenset(" ".join(words[start : start + _WIDTH]) for start in range(len(words) - _WIDTH + 1))


def similarity(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the share of both texts' shingles that both have (Jaccard)."""
    return len(first & second) / len(first | second) if first or second else 1.0


def plain(text: str) -> str:
    """Return a text with letter case and whitespace made alike: texts equal in it are copies."""
    return " ".join(text.casefold().split())


def fingerprint(text: str) -> bytes:
    """Return 16 bytes that copies share."""
    return hashlib.blake2b(plain(text).encode(), digest_size=16).digest()
