"""Exact ranking of a matrix of vectors: which slots may stand among the k best, with their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.search import contenders, exact_scores
from reasonembed_stores.vectors import Matrix

__all__ = ["Found", "rank_candidates", "rank_exactly"]

_BLOCK_SCORES = 16_000_000
"""Scores held at once: 64 MB of float32."""
_BLOCK_ROWS = 16_384
"""Rows of float16 widened at once."""
_SELECTIVE = 8
"""Where fewer than one slot in eight is allowed, gathering those is faster than scoring all."""


@dataclass(frozen=True, slots=True)
class Found:
    """The slots above a query's cut, and all that tie at it: ids decide those."""

    slots: NDArray[np.int64]
    scores: NDArray[np.float32]


def rank_exactly(
    matrix: Matrix,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None,
    banned: Sequence[NDArray[np.int64]],
) -> list[Found]:
    """Find for each query the k best slots of unit vectors among the allowed ones, less its banned ones."""
    size = len(matrix)
    slots = None
    denied = None
    if allowed is not None:
        size = int(np.count_nonzero(allowed))
        if size * _SELECTIVE < len(matrix):
            slots = np.flatnonzero(allowed)
            matrix = matrix[slots]
        else:
            denied = np.flatnonzero(~allowed)
    found: list[Found] = []
    for number, scores_N in enumerate(_scores(matrix, queries_QD)):
        if denied is not None:
            scores_N[denied] = -np.inf
        rows = _rows_of(banned[number], slots)
        rows = rows[np.isfinite(scores_N[rows])]
        scores_N[rows] = -np.inf
        near = contenders(scores_N, min(k, size - len(rows)))
        found.append(
            rank_candidates(matrix, queries_QD[number], near, k=k)
            if slots is None
            else _moved(rank_candidates(matrix, queries_QD[number], near, k=k), slots)
        )
    return found


def rank_candidates(matrix: Matrix, query_D: NDArray[np.float32], slots: NDArray[np.int64], *, k: int) -> Found:
    """Score candidate slots exactly and keep the k best with all that tie with the last."""
    scores = exact_scores(query_D, matrix[slots])
    if len(slots) > k:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        slots, scores = slots[kept], scores[kept]
    return Found(slots, scores)


def _scores(matrix: Matrix, queries_QD: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield each query's float32 scores of all rows, to be written over as the caller likes."""
    block = max(1, _BLOCK_SCORES // max(1, len(matrix)))
    for start in range(0, len(queries_QD), block):
        queries = queries_QD[start : start + block]
        if matrix.dtype == np.float32:
            yield from queries @ matrix.T
        else:
            scores_QN = np.empty((len(queries), len(matrix)), dtype=np.float32)
            for row in range(0, len(matrix), _BLOCK_ROWS):
                scores_QN[:, row : row + _BLOCK_ROWS] = queries @ matrix[row : row + _BLOCK_ROWS].astype(np.float32).T
            yield from scores_QN


def _rows_of(banned: NDArray[np.int64], slots: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return where banned slots stand among the gathered ones; those that were not gathered are left out."""
    if slots is None:
        return banned
    gathered = banned[np.isin(banned, slots, assume_unique=True)]
    return np.searchsorted(slots, gathered)


def _moved(found: Found, slots: NDArray[np.int64]) -> Found:
    return Found(slots[found.slots], found.scores)
