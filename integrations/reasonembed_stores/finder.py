"""Finder: from query vectors, filters and exclusions to the slots of a table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_stores.approximate import rank_with
from reasonembed_stores.columns import Columns
from reasonembed_stores.filters import Filter
from reasonembed_stores.ranking import Found, rank_exactly
from reasonembed_stores.structures import Structure, build_structure, code_structure, kind_for
from reasonembed_stores.table import Table
from reasonembed_stores.view import View

__all__ = ["Finder"]

_logger = logging.getLogger(__name__)

_GROWN = 1.25
"""By how much a table may outgrow its search structure before another is built."""


class Finder:
    """What a store remembers to find faster: metadata columns, and a search structure."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = RLock()
        self._columns: tuple[int, Columns] | None = None
        self._structure: tuple[int, Structure | None] | None = None

    def allowed(self, view: View, tree: Filter | None, ids: Sequence[str] | None) -> NDArray[np.bool_] | None:
        """Return which slots may be found; None where all may."""
        allowed = None if view.count == len(view.keys) else view.alive
        if tree is not None:
            mask = self._mask(view, tree)
            allowed = mask if allowed is None else allowed & mask
        if ids is not None:
            named = np.zeros(len(view.keys), dtype=np.bool_)
            named[view.slots_of(list(self._table.catalog.keys_of(ids).values()))] = True
            allowed = named if allowed is None else allowed & named
        return allowed

    def _mask(self, view: View, tree: Filter) -> NDArray[np.bool_]:
        with self._lock:
            if self._columns is None or self._columns[0] != view.state.layout:
                self._columns = (view.state.layout, Columns(self._metadata_rows))
            return self._columns[1].mask(tree, view.keys)

    def _metadata_rows(self, after_key: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        return self._table.catalog.metadata(after_key)

    def find(
        self,
        view: View,
        queries_QD: NDArray[np.float32],
        *,
        k: int,
        allowed: NDArray[np.bool_] | None,
        banned_ids: Sequence[Sequence[str]],
    ) -> list[Found]:
        """Find for each query the k best slots among the allowed ones, less its banned documents."""
        keys = self._table.catalog.keys_of(list({identity for ids in banned_ids for identity in ids}))
        banned = [view.slots_of([keys[identity] for identity in ids if identity in keys]) for ids in banned_ids]
        structure = self.structure(view)
        if structure is None or structure.covered > len(view.keys):
            return rank_exactly(view.matrix, queries_QD, k=k, allowed=allowed, banned=banned)
        return rank_with(structure, view.matrix, queries_QD, k=k, allowed=allowed, banned=banned)

    def structure(self, view: View) -> Structure | None:
        """Return what to search with; None is exact search over the stored vectors."""
        layout, half = view.state.layout, view.state.dtype == "float16"
        with self._lock:
            if self._structure is None or self._structure[0] != layout:
                self._structure = (layout, self._table.read_structure(layout))
            structure = self._structure[1]
            outgrown = structure is None or (structure.kind == "codes" and _is_outgrown(structure, view))
            if half and outgrown and view.count:
                structure = code_structure(view.matrix)
                self._structure = (layout, structure)
            return structure

    def build(self) -> None:
        """Build the structure that the table was made for, where it is due, and keep it."""
        view = self._table.view()
        kind = kind_for(view.state.ann, view.count)
        structure = self.structure(view)
        due = structure is None or structure.kind != kind or _is_outgrown(structure, view)
        if kind == "flat" or view.count == 0 or not due:
            return
        view = self._table.begin()
        _logger.info("%s: building %s over %d vectors", self._table.path or "in memory", kind, len(view.keys))
        structure = build_structure(view.matrix, kind)
        self._table.write_structure(structure)
        with self._lock:
            self._structure = (view.state.layout, structure)
        _logger.info("%s: searches by %s", self._table.path or "in memory", self.described(view))

    def described(self, view: View) -> str:
        """Return how the table is searched, in words."""
        structure = self.structure(view)
        if structure is None or structure.kind == "codes":
            return f"exact over {len(view.keys):,} vectors"
        if structure.covered == len(view.keys):
            return f"{structure.kind} over {structure.covered:,} vectors"
        return f"{structure.kind} over {structure.covered:,} of {len(view.keys):,} vectors, exact over the rest"


def _is_outgrown(structure: Structure, view: View) -> bool:
    return structure.covered * _GROWN < len(view.keys)
