"""Hits: what every search returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Hits"]


@dataclass(frozen=True, slots=True)
class Hits:
    """The documents found for one query, best first: ids and float32 scores of equal length."""

    ids: tuple[str, ...]
    scores: NDArray[np.float32]
