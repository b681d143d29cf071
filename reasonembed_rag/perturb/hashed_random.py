"""Random numbers that depend on a seed and a text only, not on the other texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["keys_of", "uniform"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST = np.uint64(31)
_MANTISSA = np.uint64(11)


def keys_of(texts: Sequence[str], *, seed: int, purpose: str) -> NDArray[np.uint64]:
    """Return a key (T,) for each text; it depends on the text, the seed and the purpose."""
    start = hashlib.blake2b(f"{seed}\0{purpose}\0".encode(), digest_size=8)
    digests: list[bytes] = []
    for text in texts:
        digest = start.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def uniform(keys: NDArray[np.uint64], indices: NDArray[np.integer[Any]] | int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each key and index: the output number `index` of SplitMix64 seeded with the key.

    keys and indices broadcast (Steele, Lea and Flood 2014).
    """
    state = keys + (np.atleast_1d(indices).astype(np.uint64) + np.uint64(1)) * _GOLDEN
    for shift, factor in _MIX:
        state = (state ^ (state >> shift)) * factor
    state ^= state >> _LAST
    return (state >> _MANTISSA).astype(np.float64) * 2.0**-53
