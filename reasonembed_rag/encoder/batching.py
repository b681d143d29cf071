"""Plan a call: find repeated texts and group the others into packs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

__all__ = ["Distinct", "distinct", "plan_packs"]


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct items in order of first appearance: `first` holds their indices, `inverse` one number per item."""

    first: NDArray[np.int64]
    inverse: NDArray[np.int64]


def distinct(items: Sequence[Hashable]) -> Distinct:
    """Find the distinct items of a sequence: [items[i] for i in first][inverse[j]] == items[j]."""
    number_of: dict[Hashable, int] = {}
    inverse = np.asarray([number_of.setdefault(item, len(number_of)) for item in items], dtype=np.int64)
    if len(number_of) == len(items):
        return Distinct(inverse, inverse)
    first = np.empty(len(number_of), dtype=np.int64)
    first[inverse[::-1]] = np.arange(len(items))[::-1]  # of several the last written remains
    return Distinct(first, inverse)


def plan_packs(lengths: NDArray[np.int64], *, budget: int) -> list[NDArray[np.int64]]:
    """Group rows, longest first, into packs of at most `budget` tokens; a longer row is a pack by itself.

    Rows of a pack have similar lengths, so that attention can run in buckets with hardly any padding.
    """
    order = np.argsort(-lengths, kind="stable")
    if len(order) and lengths.sum() <= budget:
        return [order]
    ends = np.cumsum(lengths[order])
    packs: list[NDArray[np.int64]] = []
    start, spent = 0, 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(ends, spent + budget, side="right")))
        packs.append(order[start:stop])
        start, spent = stop, int(ends[stop - 1])
    return packs
