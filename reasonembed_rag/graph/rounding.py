"""Weights as integers, chosen by the states that they multiply."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LEAST_SCALE", "column_factors", "error_carriers", "rounded"]

LEAST_SCALE = 1e-9
_DAMPING = 0.05
"""Added to the mean square of every column of states, by their average: few texts say little about rare directions."""
_BLOCK = 128


def column_factors(states_TK: NDArray[np.float32], weights: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return factors (K,) by which to divide columns of states and to multiply the rows of weights (K, N).

    States have one scale for a whole batch, which a few large columns would coarsen for all; columns of a weight have a
    scale each (SmoothQuant, arXiv 2211.10438, equation 4).
    """
    rows_K = np.max([np.abs(weight_KN).max(axis=1) for weight_KN in weights], axis=0)
    peaks_K = np.abs(states_TK).max(axis=0)
    factors_K: NDArray[np.float32] = np.sqrt(np.maximum(peaks_K, LEAST_SCALE) / np.maximum(rows_K, LEAST_SCALE))
    return factors_K


def error_carriers(states_TK: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """Return (K, K), zero up to the diagonal: by how much each row of a weight makes up for errors of later rows.

    It is the Cholesky factor of the mean of states' outer products, each row divided by its diagonal; in float64, since
    rounding would make other integers of sums in another order. None where states are not finite.
    """
    wide_TK = states_TK.astype(np.float64)
    moments_KK = wide_TK.T @ wide_TK / len(wide_TK)
    if not np.isfinite(moments_KK).all():
        return None
    diagonal = np.diag_indices_from(moments_KK)
    moments_KK[diagonal] += _DAMPING * moments_KK[diagonal].mean() + LEAST_SCALE
    factor_KK = np.linalg.cholesky(moments_KK)
    carriers: NDArray[np.float64] = np.tril(factor_KK / np.diag(factor_KK), -1).T
    return carriers


def rounded(
    weight_KN: NDArray[np.float32],
    scale_N: NDArray[np.float32],
    carriers_KK: NDArray[np.float64] | None,
    *,
    largest: int,
) -> NDArray[np.int8]:
    """Return integers (K, N), at most `largest` in size, that times their scales stand for a weight.

    Each is the nearest, or with carriers of errors the nearest to its weight and what later rows have lost (GPTQ, arXiv
    2210.17323, in the order of Babai's algorithm, arXiv 2507.18553).
    """
    wanted_KN = weight_KN.astype(np.float64) / scale_N
    chosen_KN: NDArray[np.float64] = np.rint(wanted_KN)
    if carriers_KK is None:
        return chosen_KN.astype(np.int8)
    lost_KN = np.zeros_like(wanted_KN)
    for stop in range(len(wanted_KN), 0, -_BLOCK):
        start = max(0, stop - _BLOCK)
        carried_BN = carriers_KK[start:stop, stop:] @ lost_KN[stop:]
        for row in reversed(range(start, stop)):
            near = carriers_KK[row, row + 1 : stop] @ lost_KN[row + 1 : stop]
            chosen_KN[row] = np.clip(np.rint(wanted_KN[row] + carried_BN[row - start] + near), -largest, largest)
            lost_KN[row] = wanted_KN[row] - chosen_KN[row]
    return chosen_KN.astype(np.int8)
