"""View: a committed state of a table, as arrays that nobody changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reasonembed_stores.catalog import Snapshot, State
from reasonembed_stores.vectors import CODES, Matrix

__all__ = ["View", "blank_view"]


@dataclass(frozen=True, slots=True)
class View:
    """The documents' keys and vectors slot by slot; a later change makes another view and leaves this one as it is."""

    state: State
    keys: NDArray[np.int64]
    """The key of each slot, growing."""
    alive: NDArray[np.bool_]
    """Whether the slot's document is still there."""
    matrix: Matrix
    """The slots' vectors (n, dimension) of unit length."""
    count: int
    """How many documents are there."""

    def slots_of(self, keys: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the slots of these keys; keys that this view does not hold are left out."""
        wanted = np.asarray(keys, dtype=np.int64)
        places = np.searchsorted(self.keys, wanted)
        held = places < len(self.keys)
        held[held] = self.keys[places[held]] == wanted[held]
        return places[held]

    def followed_by(self, snapshot: Snapshot, matrix: Matrix) -> View:
        """Return the view after what came since, its vectors being behind this one's in the matrix."""
        keys = np.concatenate([self.keys, snapshot.keys])
        alive = np.concatenate([self.alive, np.ones(len(snapshot.keys), dtype=np.bool_)])
        view = replace(self, state=snapshot.state, keys=keys, matrix=matrix)
        alive[view.slots_of(snapshot.dead)] = False
        return replace(view, alive=alive, count=int(np.count_nonzero(alive)))


def blank_view(state: State) -> View:
    """Return the view of a table before its first document."""
    no_vectors: Matrix = np.empty((0, state.dimension or 0), dtype=CODES[state.codes])
    return View(state, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_), no_vectors, 0)
