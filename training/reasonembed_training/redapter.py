"""Redapter: weight each query by its reasoning intensity (ReasonEmbed, arXiv 2510.08252).

L_i is the loss of a query, L'_i the loss of its reasoning-augmented form q'_i over the same documents. If reasoning
makes the query much easier, L'_i << L_i, the query is reasoning-intensive and its loss counts more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reasonembed_rag.errors import InputError

__all__ = ["IntensityStatistics", "intensity_statistics", "reasoning_intensity", "sample_weights"]

_BINS = 20


def reasoning_intensity(
    losses_Q: Tensor,
    reasoning_losses_Q: Tensor,
    *,
    kappa: float = 5.0,
    floor: float = 0.0,
    epsilon: float = 1e-6,
    has_reasoning_Q: Tensor | None = None,
) -> Tensor:
    """Return RI_i = clip(L_i / (L'_i + epsilon), floor, kappa) per query, detached, (Q,).

    Where has_reasoning_Q is false the query has no reasoning-augmented form: its RI is 1, the ratio of the loss to
    itself, and its L'_i is ignored. Raises InputError for shapes that do not match and for floor above kappa.
    """
    if losses_Q.shape != reasoning_losses_Q.shape:
        got = f"{tuple(losses_Q.shape)} and {tuple(reasoning_losses_Q.shape)}"
        raise InputError(f"want two equal shapes (Q,), got {got}")
    if not (0 <= floor <= kappa and kappa > 0 and epsilon > 0):
        raise InputError(
            f"floor, kappa, epsilon are {floor}, {kappa}, {epsilon}; want 0 <= floor <= kappa, kappa and epsilon > 0"
        )
    ratio_Q = losses_Q.detach() / (reasoning_losses_Q.detach() + epsilon)
    if has_reasoning_Q is not None:
        ratio_Q = torch.where(has_reasoning_Q, ratio_Q, 1.0)
    return ratio_Q.clamp(floor, kappa) + 0.0  # a loss of -0.0 is one of 0


def sample_weights(intensity_Q: Tensor, *, total: Tensor | None = None, normalise: bool = True) -> Tensor:
    """Return the weights w_i of the loss sum_i w_i L_i, detached, (Q,).

    Normalised, w_i = RI_i / sum_j RI_j over the global batch, or uniform if every RI_j is 0; not normalised, w_i =
    RI_i / number of queries. `total` is [sum_j RI_j, number of queries] of the global batch if intensity_Q is one
    process's share of it.
    """
    intensity_Q = intensity_Q.detach()
    if total is None:
        total = torch.stack([intensity_Q.sum(), intensity_Q.new_tensor(len(intensity_Q))])
    uniform_Q = torch.ones_like(intensity_Q) / total[1]
    if not normalise:
        return intensity_Q / total[1]
    return torch.where(total[0] > 0, intensity_Q / total[0].clamp_min(torch.finfo(intensity_Q.dtype).tiny), uniform_Q)


@dataclass(frozen=True, slots=True)
class IntensityStatistics:
    """Statistics of the reasoning intensities of a batch."""

    mean: float
    min: float
    max: float
    median: float
    clipped: float
    """Share of the queries at kappa."""
    kappa: float
    histogram: tuple[int, ...]
    """Queries per bin, in 20 equal bins from 0 to kappa."""


def intensity_statistics(intensity_Q: Tensor, *, kappa: float) -> IntensityStatistics:
    """Summarise the reasoning intensities of a batch of at least one query."""
    return IntensityStatistics(
        mean=intensity_Q.mean().item(),
        min=intensity_Q.min().item(),
        max=intensity_Q.max().item(),
        median=intensity_Q.quantile(0.5).item(),
        clipped=(intensity_Q >= kappa).double().mean().item(),
        kappa=kappa,
        histogram=tuple(int(count) for count in intensity_Q.float().histc(_BINS, min=0, max=kappa)),
    )
