"""Search through an ANN index: its candidates are scored exactly, and exact search fills in what it would miss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.retrieval import ROUNDING, TopRows, top_candidates, top_rows
from reasonembed_stores.ann import AnnIndex
from reasonembed_stores.vectors import Matrix

__all__ = ["search_ann"]

_MAX_CANDIDATES = 4096
_OVERSAMPLING = 4
"""Candidates per hit: 8-bit codes rank coarsely."""
_SELECTIVE = 20
"""Where fewer than one row in twenty is allowed, a graph reaches too few of them."""


def search_ann(
    index: AnnIndex,
    matrix: Matrix,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None,
    excluded_rows: Sequence[NDArray[np.int64]],
) -> list[TopRows]:
    """Return for each query the k best rows among the allowed ones, without its excluded ones.

    A float16 scan gives the exact result; a graph or an inverted file gives the best of its candidates, and never fewer
    than k where k are left.
    """
    size = len(matrix) if allowed is None else int(np.count_nonzero(allowed))
    asked = max(32, k * _OVERSAMPLING)
    widest = asked + max((len(rows) for rows in excluded_rows), default=0)
    if size * _SELECTIVE < len(matrix) or size <= k or widest > _MAX_CANDIDATES:
        return list(top_rows([matrix], queries_QD, k=k, allowed=allowed, excluded_rows=excluded_rows))
    tails = _tails(index.covered, matrix, queries_QD, k=k, allowed=allowed, excluded_rows=excluded_rows)
    scores_QK, rows_QK = index.nearest(queries_QD, widest, allowed)
    found: list[TopRows] = []
    for number, query_D in enumerate(queries_QD):
        excluded = excluded_rows[number]
        head = rows_QK[number][rows_QK[number] >= 0]
        candidates = np.concatenate([head[~np.isin(head, excluded)], tails[number]])
        best = top_candidates(matrix, query_D, candidates, k=k)
        beyond = float(scores_QK[number][-1]) if len(head) == widest else -np.inf
        left = min(k, size - _count(excluded, allowed))
        if not _is_complete(best, left, beyond=beyond if index.kind == "codes" else None):
            one = queries_QD[number : number + 1]
            (best,) = top_rows([matrix], one, k=k, allowed=allowed, excluded_rows=[excluded])
        found.append(best)
    return found


def _is_complete(best: TopRows, left: int, *, beyond: float | None) -> bool:
    """Return whether `left` rows were found and, given `beyond`, whether no better one can be missing.

    beyond is the score that no row outside the candidates exceeds.
    """
    if left == 0 or len(best.rows) < left:
        return left == 0
    return beyond is None or bool(best.scores.min() > beyond + ROUNDING)


def _tails(
    covered: int,
    matrix: Matrix,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None,
    excluded_rows: Sequence[NDArray[np.int64]],
) -> list[NDArray[np.int64]]:
    """Return for each query the best rows among those that were added after the index was built."""
    if covered == len(matrix):
        return [np.empty(0, dtype=np.int64) for _ in queries_QD]
    excluded = [rows[rows >= covered] - covered for rows in excluded_rows]
    mask = None if allowed is None else allowed[covered:]
    found = top_rows([matrix[covered:]], queries_QD, k=k, allowed=mask, excluded_rows=excluded)
    return [one.rows + covered for one in found]


def _count(rows: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> int:
    return len(rows) if allowed is None else int(np.count_nonzero(allowed[rows]))
