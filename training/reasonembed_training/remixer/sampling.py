"""Draws that depend on a seed and a name alone: the same in every run, whatever else the corpus holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

__all__ = ["draw", "place"]


def place(name: str, *, seed: int) -> bytes:
    """Return where a name stands in the seed's order of all names: sorting by it shuffles them."""
    return hashlib.blake2b(f"{seed}\n{name}".encode(), digest_size=16).digest()


def draw(weights: Mapping[str, float], *, of: str, name: str, seed: int) -> str:
    """Draw a key by its weight; `of` says what is drawn, so that two draws for one name are independent."""
    total = sum(weights.values())
    left = int.from_bytes(place(f"{of}\n{name}", seed=seed)[:8]) / 2**64 * total
    for key, weight in weights.items():
        if left < weight:
            return key
        left -= weight
    return max(weights, key=lambda key: weights[key])  # rounding left a trace behind the last key
