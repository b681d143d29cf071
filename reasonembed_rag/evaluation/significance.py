"""Confidence intervals and tests of means over queries by seeded resampling, without assuming a distribution."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import EvaluationError

__all__ = ["Interval", "bootstrap_intervals", "holm_p_values", "randomization_p_value", "resampled_means"]

_BLOCK = 4_000_000
"""Numbers drawn at once; bounds the memory."""
_EXACT_QUERIES = 14
"""Up to this number of queries, every assignment of signs is tested."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a mean."""

    low: float
    high: float


def bootstrap_intervals(
    groups: Sequence[NDArray[np.float64]],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Interval]:
    """Return the percentile bootstrap interval of each column's mean.

    Each group (Q, M) holds the values of one task's queries; queries are drawn within their group, and the mean is
    the mean of the groups' means. Raises EvaluationError for an empty group.
    """
    if not groups or any(len(values_QM) == 0 for values_QM in groups):
        raise EvaluationError("got no values to resample; want at least one query per task")
    means_RM = np.mean(
        [resampled_means(values, resamples, seed + number) for number, values in enumerate(groups)], axis=0
    )
    low_M, high_M = np.quantile(means_RM, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return [Interval(float(low), float(high)) for low, high in zip(low_M, high_M, strict=True)]


def randomization_p_value(
    groups: Sequence[NDArray[np.float64]],
    *,
    resamples: int = 20_000,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of the paired randomisation (sign-flip) test that a mean difference is 0.

    Each group (Q,) holds one task's differences query by query; the statistic is the mean of the groups' means. Few
    queries are tested over every assignment of signs, more over `resamples` random ones (Smucker et al. 2007). Raises
    EvaluationError for an empty group.
    """
    if not groups or any(len(differences_Q) == 0 for differences_Q in groups):
        raise EvaluationError("got no differences to test; want at least one query per task")
    weighted_Q = np.concatenate([differences_Q / (len(differences_Q) * len(groups)) for differences_Q in groups])
    weighted_Q = weighted_Q[weighted_Q != 0.0]
    # Sums that are mathematically equal may differ in the last bits; they count as equal.
    observed = abs(float(weighted_Q.sum())) - 1e-12 * float(np.abs(weighted_Q).sum())
    if len(weighted_Q) <= _EXACT_QUERIES:
        signs_RQ = np.asarray(list(itertools.product((-1.0, 1.0), repeat=len(weighted_Q))))
        return float(np.mean(np.abs(signs_RQ @ weighted_Q) >= observed))
    generator = np.random.default_rng(seed)
    extreme = 0
    for count in _blocks(resamples, len(weighted_Q)):
        signs_RQ = generator.integers(0, 2, size=(count, len(weighted_Q)), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs_RQ @ weighted_Q) >= observed))
    return (extreme + 1) / (resamples + 1)


def holm_p_values(p_values: Sequence[float]) -> list[float]:
    """Return the p-values of a family of tests, corrected so that one error among them all is as rare (Holm 1979)."""
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        corrected[number] = largest
    return corrected


def resampled_means(values_QM: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """Return the column means (R, M) of queries drawn with replacement, the same queries for every column."""
    queries = len(values_QM)
    generator = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    for count in _blocks(resamples, queries):
        drawn_RQ = generator.integers(queries, size=(count, queries)) + queries * np.arange(count)[:, None]
        times_RQ = np.bincount(drawn_RQ.ravel(), minlength=count * queries).reshape(count, queries)
        means.append(times_RQ @ values_QM / queries)
    return np.concatenate(means)


def _blocks(resamples: int, width: int) -> list[int]:
    """Split the resamples into blocks that fit into memory."""
    size = max(1, _BLOCK // width)
    return [min(size, resamples - start) for start in range(0, resamples, size)]
