"""Finder: query vectors, filters and exclusions to the positions of documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.forks import ForkLock
from reasonembed_rag.retrieval import TopRows, top_rows
from reasonembed_stores.ann import AnnIndex, build_ann_index, float16_scan, kind_for
from reasonembed_stores.ann_search import search_ann
from reasonembed_stores.columns import Columns
from reasonembed_stores.filters import Filter
from reasonembed_stores.table import Table
from reasonembed_stores.view import View

__all__ = ["Finder"]

_logger = logging.getLogger(__name__)

_GROWN = 1.25
"""The growth of a table, as a share, after which its ANN index is rebuilt."""


class Finder:
    """Caches of a store for faster search: metadata columns, and an ANN index."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._lock = ForkLock()
        self._columns: tuple[int, Columns] | None = None
        self._ann: tuple[int, AnnIndex | None] | None = None

    def allowed(self, view: View, tree: Filter | None, ids: Sequence[str] | None) -> NDArray[np.bool_] | None:
        """Return which positions may be found; None if all may."""
        allowed = None if view.count == len(view.keys) else view.alive
        if tree is not None:
            mask = self._mask(view, tree)
            allowed = mask if allowed is None else allowed & mask
        if ids is not None:
            named = np.zeros(len(view.keys), dtype=np.bool_)
            named[view.positions_of(list(self._table.catalog.keys_of(ids).values()))] = True
            allowed = named if allowed is None else allowed & named
        return allowed

    def _mask(self, view: View, tree: Filter) -> NDArray[np.bool_]:
        with self._lock:
            if self._columns is None or self._columns[0] != view.state.layout:
                # A method of this object would make a cycle, which keeps the writer's lock until it is collected.
                self._columns = (view.state.layout, Columns(self._table.catalog.metadata))
            return self._columns[1].mask(tree, view.keys)

    def find(
        self,
        view: View,
        queries_QD: NDArray[np.float32],
        *,
        k: int,
        allowed: NDArray[np.bool_] | None,
        excluded_ids: Sequence[Sequence[str]],
    ) -> list[TopRows]:
        """Return for each query the k best positions among the allowed ones, without its excluded documents."""
        keys = self._table.catalog.keys_of(list({identity for ids in excluded_ids for identity in ids}))
        excluded = [view.positions_of([keys[identity] for identity in ids if identity in keys]) for ids in excluded_ids]
        index = self._ann_index(view)
        if index is None or index.covered > len(view.keys):
            return list(top_rows([view.matrix], queries_QD, k=k, allowed=allowed, excluded_rows=excluded))
        return search_ann(index, view.matrix, queries_QD, k=k, allowed=allowed, excluded_rows=excluded)

    def _ann_index(self, view: View) -> AnnIndex | None:
        """Return the index to search; None means exact search over the stored vectors."""
        layout, half = view.state.layout, view.state.dtype == "float16"
        with self._lock:
            if self._ann is None or self._ann[0] != layout:
                self._ann = (layout, self._table.read_ann_index(layout))
            index = self._ann[1]
            outgrown = index is None or (index.kind == "codes" and _is_outgrown(index, view))
            if half and outgrown and view.count:
                index = float16_scan(view.matrix)
                self._ann = (layout, index)
            return index

    def build(self, *, on_message: Callable[[str], object] | None = None) -> None:
        """Build the ANN index that the table was created for, if it is due, and write it.

        on_message is called before and after the build, which may take minutes; by default both messages are logged.
        """
        report = on_message or _logger.info
        name = self._table.path or "in memory"
        view = self._table.view()
        kind = kind_for(view.state.ann, view.count)
        index = self._ann_index(view)
        due = index is None or index.kind != kind or _is_outgrown(index, view)
        if kind == "flat" or view.count == 0 or not due:
            return
        view = self._table.begin()
        report(f"{name}: building {kind} over {len(view.keys):,} vectors")
        index = build_ann_index(view.matrix, kind)
        self._table.write_ann_index(index)
        with self._lock:
            self._ann = (view.state.layout, index)
        report(f"{name}: searches by {self.described(view)}")

    def described(self, view: View) -> str:
        """Describe how the table is searched."""
        index = self._ann_index(view)
        if index is None or index.kind == "codes":
            return f"exact over {view.count:,} vectors"
        if index.covered == len(view.keys):
            return f"{index.kind} over {index.covered:,} vectors"
        return f"{index.kind} over {index.covered:,} of {len(view.keys):,} vectors, exact over the rest"


def _is_outgrown(index: AnnIndex, view: View) -> bool:
    return index.covered * _GROWN < len(view.keys)
