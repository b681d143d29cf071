"""Random choices that depend on a seed and a name only: the same in every run, whatever else is in the corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = ["draw_weighted", "shuffle_key"]


def shuffle_key(name: str, *, seed: int) -> bytes:
    """Return a sort key that shuffles names by the seed."""
    return hashlib.blake2b(f"{seed}\n{name}".encode(), digest_size=16).digest()


def draw_weighted(weights: Mapping[str, float], *, of: str, name: str, seed: int) -> str:
    """Draw a key by its weight; another purpose `of` gives an independent draw for the same name."""
    total = sum(weights.values())
    left = int.from_bytes(shuffle_key(f"{of}\n{name}", seed=seed)[:8]) / 2**64 * total
    for key, weight in weights.items():
        if left < weight:
            return key
        left -= weight
    return max(weights, key=lambda key: weights[key])  # rounding error beyond the last key
