"""Similarity of two rankings, for queries without judgements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reasonembed_rag.errors import InputError

__all__ = ["overlap", "rank_biased_overlap"]


def overlap(first: Sequence[str], second: Sequence[str], *, k: int = 10) -> float:
    """Return the share of the k best documents that both rankings have; 1 for two empty rankings.

    If both are shorter than k, the longer one's length replaces k. Raises InputError for k < 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; want at least 1")
    depth = min(k, max(len(first), len(second)))
    return len(set(first[:k]) & set(second[:k])) / depth if depth else 1.0


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], *, p: float = 0.9) -> float:
    """Return the extrapolated rank-biased overlap of two rankings without repetitions, from 0 to 1.

    p is the probability of continuing to the next rank: with 0.9 the first ten ranks have 86 % of the weight (Webber,
    Moffat and Zobel 2010, equation 32). Two empty rankings have 1, one and an empty one 0. Raises
    InputError for a p that is not between 0 and 1.
    """
    if not 0.0 < p < 1.0:
        raise InputError(f"p is {p}; want a number between 0 and 1")
    shorter, longer = sorted((first, second), key=len)
    short, long = len(shorter), len(longer)
    if not short:
        return 1.0 if not long else 0.0
    rank_of = {identity: rank for rank, identity in enumerate(shorter)}
    # The depth from which each common document is in both rankings.
    depths = [max(rank, rank_of[identity]) for rank, identity in enumerate(longer) if identity in rank_of]
    common_L = np.cumsum(np.bincount(depths, minlength=long))
    depth_L = np.arange(1, long + 1)
    agreement_L = common_L / depth_L
    beyond = depth_L > short
    agreement_L[beyond] += common_L[short - 1] * (depth_L[beyond] - short) / (short * depth_L[beyond])
    weighted = (1.0 - p) / p * float(np.sum(agreement_L * p**depth_L))
    tail = (common_L[-1] - common_L[short - 1]) / long + common_L[short - 1] / short
    return weighted + float(tail) * p**long
