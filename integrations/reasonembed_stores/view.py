"""View: a committed state of a store, as arrays that never change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reasonembed_stores.catalog import Snapshot, State
from reasonembed_stores.vectors import DTYPES, Matrix

__all__ = ["View", "blank_view"]

_FEWEST, _SAMPLED = 20, 300


@dataclass(frozen=True, slots=True)
class View:
    """The keys and vectors of documents, by position; a change makes a new view and leaves this one as it is."""

    state: State
    keys: NDArray[np.int64]
    """The key at each position, increasing."""
    alive: NDArray[np.bool_]
    """Whether the document at each position still exists."""
    matrix: Matrix
    """The vector at each position (n, dimension), of unit length."""
    count: int
    """The number of documents."""

    def positions_of(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions of these keys; unknown keys are left out."""
        wanted = np.asarray(keys, dtype=np.int64)
        positions = np.searchsorted(self.keys, wanted)
        known = positions < len(self.keys)
        known[known] = self.keys[positions[known]] == wanted[known]
        return positions[known]

    def median_cosine(self) -> float | None:
        """Return the median cosine similarity of two documents, of 300 at most; None for fewer than 20."""
        positions = np.flatnonzero(self.alive)
        if len(positions) < _FEWEST:
            return None
        spread = np.linspace(0, len(positions) - 1, num=min(len(positions), _SAMPLED)).astype(np.int64)
        sample_ND = self.matrix[positions[spread]].astype(np.float32)
        return float(np.median((sample_ND @ sample_ND.T)[np.triu_indices(len(sample_ND), k=1)]))

    def followed_by(self, snapshot: Snapshot, matrix: Matrix) -> View:
        """Return the view after later commits, given the matrix with their vectors at its end."""
        keys = np.concatenate([self.keys, snapshot.keys])
        alive = np.concatenate([self.alive, np.ones(len(snapshot.keys), dtype=np.bool_)])
        view = replace(self, state=snapshot.state, keys=keys, matrix=matrix)
        alive[view.positions_of(snapshot.dead)] = False
        return replace(view, alive=alive, count=int(np.count_nonzero(alive)))


def blank_view(state: State) -> View:
    """Return the view of a store without documents."""
    no_vectors: Matrix = np.empty((0, state.dimension or 0), dtype=DTYPES[state.dtype])
    return View(state, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_), no_vectors, 0)
