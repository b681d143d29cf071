"""Positions of the sequences in a pack, and the buckets in which attention runs over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Bucket", "Layout"]

_SLACK_TOKENS = 8
_SLACK_SHARE = 1.12
"""Neighbours whose lengths differ by at most 8 tokens or 12 % share a bucket: little padding, few calls."""


class _Select(torch.autograd.Function):
    """Rows of a tensor whose gradient is made by selecting rows as well.

    The gradient of plain indexing is a serial loop over single numbers on the CPU, which took two thirds of a training
    step with short texts. Selecting is exact here: every row but padding is selected once, and what padding gets from
    masked attention is 0.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, inverse: Tensor, real: Tensor | None) -> Tensor:
        ctx.inverse, ctx.real = inverse, real
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        selected = gradient.index_select(0, ctx.inverse)
        if ctx.real is not None:
            selected *= ctx.real.reshape(-1, *[1] * (selected.ndim - 1))
        return selected, None, None, None


def _select(x: Tensor, rows: Tensor, *, inverse: Tensor, real: Tensor | None) -> Tensor:
    if not (torch.is_grad_enabled() and x.requires_grad):
        return x.index_select(0, rows)
    apply: Callable[..., Tensor] = _Select.apply
    return apply(x, rows, inverse, real)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Neighbouring sequences padded to one length: tokens start:stop of the pack as (count, length)."""

    start: int
    stop: int
    count: int
    length: int
    lengths_B: Tensor
    gather: Tensor | None
    """Indices (count * length,) that pad the tokens start:stop; None if all have one length."""
    scatter: Tensor | None
    """Indices that undo the padding."""
    mask_BL: Tensor | None
    """True for real tokens; None if all are real."""

    def pad(self, x: Tensor) -> Tensor:
        """Return the bucket's tokens of x (T, ...) as (count, length, ...)."""
        own = x[self.start : self.stop]
        if self.gather is not None and self.scatter is not None:
            own = _select(own, self.gather, inverse=self.scatter, real=None)
        return own.reshape(self.count, self.length, *x.shape[1:])

    def unpad(self, x: Tensor) -> Tensor:
        """Return (count, length, ...) as the bucket's tokens (stop - start, ...)."""
        flat = x.reshape(self.count * self.length, *x.shape[2:])
        if self.gather is None or self.scatter is None:
            return flat
        return _select(flat, self.scatter, inverse=self.gather, real=self.mask_BL)


class Layout:
    """Index arrays of one pack: n sequences, T tokens in all, sorted by length."""

    def __init__(self, lengths: Sequence[int], *, prefix: int = 0, device: torch.device) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.prefix = prefix
        """Number of tokens before each sequence with precomputed keys and values."""
        self.device = device
        self.ends = np.cumsum(self.lengths)
        self.starts = self.ends - self.lengths

    @cached_property
    def positions_T(self) -> Tensor:
        """Position of each token in its sequence, prefix included."""
        within = np.arange(int(self.ends[-1])) - np.repeat(self.starts, self.lengths) + self.prefix
        return self._to_device(within)

    @cached_property
    def last_B(self) -> Tensor:
        """Index of each sequence's last token."""
        return self._to_device(self.ends - 1)

    @cached_property
    def first_B(self) -> Tensor:
        """Index of each sequence's first token."""
        return self._to_device(self.starts)

    @cached_property
    def sequence_T(self) -> Tensor:
        """Index of each token's sequence."""
        return self._to_device(np.repeat(np.arange(len(self.lengths)), self.lengths))

    @cached_property
    def buckets(self) -> list[Bucket]:
        """The sequences in runs of similar length."""
        buckets: list[Bucket] = []
        first = 0
        while first < len(self.lengths):
            after = self._run(first)
            buckets.append(self._bucket(first, after))
            first = after
        return buckets

    @cached_property
    def cumulative_queries(self) -> Tensor:
        """Starts of the sequences and the final end, int32 (n + 1,)."""
        return self._to_device(np.concatenate([[0], self.ends]).astype(np.int32))

    @cached_property
    def cumulative_keys(self) -> Tensor:
        """The same with the prefix before each sequence."""
        return self._to_device(np.concatenate([[0], np.cumsum(self.lengths + self.prefix)]).astype(np.int32))

    @cached_property
    def with_prefix(self) -> Tensor:
        """Indices into [prefix; tokens] that put the prefix before each sequence."""
        rows = [
            np.concatenate([np.arange(self.prefix), self.prefix + np.arange(start, end)])
            for start, end in zip(self.starts, self.ends, strict=True)
        ]
        return self._to_device(np.concatenate(rows))

    def _run(self, first: int) -> int:
        low = high = int(self.lengths[first])
        after = first + 1
        while after < len(self.lengths):
            low, high = min(low, int(self.lengths[after])), max(high, int(self.lengths[after]))
            if high - low > _SLACK_TOKENS and high > _SLACK_SHARE * low:
                break
            after += 1
        return after

    def _bucket(self, first: int, after: int) -> Bucket:
        lengths = self.lengths[first:after]
        length, count = int(lengths.max()), after - first
        start, stop = int(self.starts[first]), int(self.ends[after - 1])
        gather = scatter = mask = None
        if int(lengths.min()) != length:
            column = np.arange(length)
            real = column < lengths[:, None]
            rows = (self.starts[first:after, None] - start) + np.minimum(column, lengths[:, None] - 1)
            gather, scatter = self._to_device(rows.ravel()), self._to_device(np.flatnonzero(real))
            mask = self._to_device(real)
        return Bucket(start, stop, count, length, self._to_device(lengths), gather, scatter, mask)

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, non_blocking=True)
