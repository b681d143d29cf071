"""Ranking by a search structure's candidates, exact where the structure would miss some."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_stores.ranking import Found, rank_candidates, rank_exactly
from reasonembed_stores.structures import Structure
from reasonembed_stores.vectors import Matrix

__all__ = ["rank_with"]

_ROUNDING = 1e-5
_MOST_CANDIDATES = 4096
_OVERSAMPLING = 4
"""Candidates asked for each hit: codes of 8 bits rank coarsely."""
_SELECTIVE = 20
"""Where fewer than one slot in twenty is allowed, a graph reaches too few of them."""


def rank_with(
    structure: Structure,
    matrix: Matrix,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None,
    banned: Sequence[NDArray[np.int64]],
) -> list[Found]:
    """Find for each query the k best slots among the allowed ones, less its banned ones.

    Half-precision codes give the exact result; a graph or an inverted file the best of its candidates, and never fewer
    than k where k are left.
    """
    size = len(matrix) if allowed is None else int(np.count_nonzero(allowed))
    if size * _SELECTIVE < len(matrix) or size <= k:
        return rank_exactly(matrix, queries_QD, k=k, allowed=allowed, banned=banned)
    find = _by_codes if structure.kind == "codes" else _by_candidates
    tails = _tails(structure.covered, matrix, queries_QD, k=k, allowed=allowed, banned=banned)
    asked = max(32, k * _OVERSAMPLING)
    widest = asked + max((len(rows) for rows in banned), default=0)
    if widest > _MOST_CANDIDATES:
        return rank_exactly(matrix, queries_QD, k=k, allowed=allowed, banned=banned)
    scores_QK, slots_QK = structure.nearest(queries_QD, widest, allowed)
    found: list[Found] = []
    for number, query_D in enumerate(queries_QD):
        head = slots_QK[number][slots_QK[number] >= 0]
        near = np.concatenate([head[~np.isin(head, banned[number])], tails[number]])
        best = rank_candidates(matrix, query_D, near, k=k)
        rest = scores_QK[number][-1] if len(head) == widest else -np.inf
        left = size - _count(banned[number], allowed)
        if not find(best, k=min(k, left), rest=float(rest)):
            one = slice(number, number + 1)
            (best,) = rank_exactly(matrix, queries_QD[one], k=k, allowed=allowed, banned=banned[one])
        found.append(best)
    return found


def _by_codes(best: Found, *, k: int, rest: float) -> bool:
    """Tell whether no slot beyond the candidates can reach the k best: then they are the exact ones."""
    return k == 0 or (len(best.slots) >= k and bool(best.scores.min() > rest + _ROUNDING))


def _by_candidates(best: Found, *, k: int, rest: float) -> bool:
    """Tell whether the structure found as many as there are to find."""
    del rest
    return len(best.slots) >= k


def _tails(
    covered: int,
    matrix: Matrix,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None,
    banned: Sequence[NDArray[np.int64]],
) -> list[NDArray[np.int64]]:
    """Return for each query the best slots among those that the structure does not know yet."""
    if covered == len(matrix):
        return [np.empty(0, dtype=np.int64) for _ in queries_QD]
    rows = [ban[ban >= covered] - covered for ban in banned]
    mask = None if allowed is None else allowed[covered:]
    found = rank_exactly(matrix[covered:], queries_QD, k=k, allowed=mask, banned=rows)
    return [one.slots + covered for one in found]


def _count(banned: NDArray[np.int64], allowed: NDArray[np.bool_] | None) -> int:
    return len(banned) if allowed is None else int(np.count_nonzero(allowed[banned]))
