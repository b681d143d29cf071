"""k-means clustering of vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError

__all__ = ["Clusters", "k_means"]

_ROUNDS = 100
_STARTS = 3
_LEAST_GAIN = 1e-9


@dataclass(frozen=True, slots=True)
class Clusters:
    """N vectors in K groups: the group of each, (N,), and the mean of each group, (K, D); no group is empty."""

    labels: NDArray[np.int64]
    centres: NDArray[np.float64]


def k_means(vectors_ND: NDArray[np.floating[Any]], count: int, *, seed: int = 0) -> Clusters:
    """Cluster the vectors in `count` groups, none empty: the tightest result of several k-means++ starts.

    Raises InputError for fewer vectors than groups.
    """
    if vectors_ND.ndim != 2 or not 1 <= count <= len(vectors_ND):
        raise InputError(f"want 1 to {len(vectors_ND)} groups of (N, D) vectors, got {count} of {vectors_ND.shape}")
    points_ND = vectors_ND.astype(np.float64)
    tries = [_settled(points_ND, count, np.random.default_rng([seed, start])) for start in range(_STARTS)]
    return min(tries, key=lambda found: _looseness(points_ND, found))


def _settled(points_ND: NDArray[np.float64], count: int, generator: np.random.Generator) -> Clusters:
    """Return the groups of one start: Lloyd's iterations, then single moves (Hartigan's) out of poor local optima."""
    labels_N = _squared_distances(points_ND, points_ND[_spread_out(points_ND, count, generator)]).argmin(axis=1)
    for _ in range(_ROUNDS):
        sizes_K, centres_KD = _centres(points_ND, labels_N, count)
        distances_NK = _squared_distances(points_ND, centres_KD)
        nearest_N = distances_NK.argmin(axis=1)
        if not np.array_equal(nearest_N, labels_N):
            labels_N = nearest_N
        elif not _move_one(labels_N, distances_NK, sizes_K):
            break
    return Clusters(labels_N, _centres(points_ND, labels_N, count)[1])


def _centres(
    points_ND: NDArray[np.float64], labels_N: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the groups' sizes (K,) and means (K, D), after giving every empty group a vector."""
    sizes_K = np.bincount(labels_N, minlength=count)
    for group in np.flatnonzero(sizes_K == 0):
        row = int((sizes_K[labels_N] > 1).argmax())
        sizes_K[labels_N[row]] -= 1
        sizes_K[group] += 1
        labels_N[row] = group
    member_NK = (labels_N[:, None] == np.arange(count)).astype(np.float64)
    return sizes_K, member_NK.T @ points_ND / sizes_K[:, None]


def _move_one(labels_N: NDArray[np.int64], distances_NK: NDArray[np.float64], sizes_K: NDArray[np.int64]) -> bool:
    """Make the single move that tightens the groups most, with both centres updated; return whether there was one."""
    rows = np.arange(len(labels_N))
    own_N = sizes_K[labels_N]
    freed_N = distances_NK[rows, labels_N] * own_N / np.maximum(own_N - 1, 1) * (own_N > 1)
    cost_NK = distances_NK * (sizes_K / (sizes_K + 1.0))
    cost_NK[rows, labels_N] = np.inf
    gain_N = freed_N - cost_NK.min(axis=1)
    row = int(gain_N.argmax())
    if gain_N[row] <= _LEAST_GAIN:
        return False
    labels_N[row] = cost_NK[row].argmin()
    return True


def _looseness(points_ND: NDArray[np.float64], found: Clusters) -> float:
    return float(np.square(points_ND - found.centres[found.labels]).sum())


def _spread_out(points_ND: NDArray[np.float64], count: int, generator: np.random.Generator) -> list[int]:
    """Draw the rows of the first centres, with probabilities by squared distance from those drawn (k-means++)."""
    rows = [int(generator.integers(len(points_ND)))]
    nearest_N = np.full(len(points_ND), np.inf)
    while len(rows) < count:
        nearest_N = np.minimum(nearest_N, np.square(points_ND - points_ND[rows[-1]]).sum(axis=1))
        nearest_N[rows] = 0.0
        edges_N = np.cumsum(nearest_N)
        if edges_N[-1] > 0:
            rows.append(int(np.searchsorted(edges_N, generator.random() * edges_N[-1], side="right")))
        else:
            rows.append(next(row for row in range(len(points_ND)) if row not in rows))
    return rows


def _squared_distances(points_ND: NDArray[np.float64], centres_KD: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths_N, lengths_K = (np.einsum("nd,nd->n", rows, rows) for rows in (points_ND, centres_KD))
    distances_NK: NDArray[np.float64] = lengths_N[:, None] + lengths_K - 2 * (points_ND @ centres_KD.T)
    return distances_NK
