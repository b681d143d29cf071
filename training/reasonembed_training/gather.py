"""Gather over processes: every process sees the global batch, and gradients equal those of one device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["Shards", "gather_rows", "greatest_over_processes", "my_shards", "sum_over_processes"]


class Shards:
    """How the rows of a batch are distributed: sizes[r] rows on process r; this process is `rank`."""

    __slots__ = ("rank", "sizes")

    def __init__(self, sizes: tuple[int, ...], rank: int) -> None:
        self.sizes = sizes
        self.rank = rank

    @property
    def offset(self) -> int:
        """Index of this process's first row in the global batch."""
        return sum(self.sizes[: self.rank])

    @property
    def mine(self) -> slice:
        """This process's rows in the global batch."""
        return slice(self.offset, self.offset + self.sizes[self.rank])

    @property
    def total(self) -> int:
        """Rows of the global batch."""
        return sum(self.sizes)


def my_shards(rows: int, *, device: torch.device) -> Shards:
    """Exchange how many rows each process has."""
    if not _several():
        return Shards((rows,), 0)
    mine = torch.tensor([rows], device=device)
    sizes = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
    distributed.all_gather(sizes, mine)
    return Shards(tuple(int(size) for size in sizes), distributed.get_rank())


def gather_rows(local_LD: Tensor, shards: Shards) -> Tensor:
    """Return the rows of all processes, (N, ...), in rank order; differentiable.

    The backward pass sums the gradients that the processes have for this process's rows. So if the objective is the
    SUM of what the processes compute, each gets the gradient of its own rows that one device would compute.
    """
    if len(shards.sizes) == 1:
        return local_LD
    gathered: Tensor = _Gather.apply(local_LD, shards)  # type: ignore[no-untyped-call]
    return gathered


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, detached."""
    total = values.detach().clone()
    if _several():
        distributed.all_reduce(total)
    return total


def greatest_over_processes(value: Tensor) -> Tensor:
    """Return the maximum of a number over the processes."""
    greatest = value.detach().clone()
    if _several():
        distributed.all_reduce(greatest, op=distributed.ReduceOp.MAX)
    return greatest


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local_LD: Tensor, shards: Shards) -> Tensor:
        ctx.shards = shards
        padded = local_LD.new_zeros((max(shards.sizes), *local_LD.shape[1:]))
        padded[: len(local_LD)] = local_LD
        parts = [torch.empty_like(padded) for _ in shards.sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, shards.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient_ND,) = gradients
        total_ND = gradient_ND.contiguous().clone()
        distributed.all_reduce(total_ND)
        return total_ND[ctx.shards.mine], None
