"""LoRA that acts only at latent rows: what is computed for every other row keeps its bits."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from reasonembed_rag.backbone import activate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn
    from torch.nn import Module

    from reasonembed_rag.backbone import Linear

__all__ = ["Gate", "GatedLinear", "LowRank"]


class Gate:
    """The rows of the running pass that are latent; None: there are none, and no adapter acts."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None

    @contextmanager
    def opened(self, rows: Tensor | None) -> Iterator[None]:
        """Let adapters act at these rows within the block."""
        before, self.rows = self.rows, rows
        try:
            yield
        finally:
            self.rows = before


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """The change scale * B A x of one linear layer, A (r, in) and B (out, r)."""

    a: Tensor
    b: Tensor
    scale: float

    def __call__(self, x_RI: Tensor) -> Tensor:
        """Return the change (R, out) in x's number format."""
        inner = functional.linear(x_RI.to(self.a.dtype), self.a)
        return (functional.linear(inner, self.b) * self.scale).to(x_RI.dtype)


class GatedLinear:
    """A linear of the packed forward, to whose latent rows low-rank changes are added; a Linear.

    The base computes all rows first; latent rows are then computed anew and replace theirs.
    """

    def __init__(
        self,
        modules: Sequence[Module],
        changes: Sequence[LowRank | None],
        *,
        gate: Gate,
        make: Callable[[Sequence[Module]], Linear],
    ) -> None:
        self._modules, self._changes, self._gate, self._make = list(modules), list(changes), gate, make
        self._made: Linear | None = None

    @property
    def _base(self) -> Linear:
        if self._made is None:  # made at first use: of the products of one layer not all are used
            self._made = self._make(self._modules)
        return self._made

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        """Return the activation of the product."""
        return self._replaced(self._base(x, activation=activation), x, lambda y, _: activate(y, activation))

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the product plus a residual (T, out)."""
        return self._replaced(self._base.plus(x, residual), x, lambda y, rows: y + residual[rows])

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Return the product times a factor (T, out), element by element."""
        return self._replaced(self._base.times(x, factor), x, lambda y, rows: y * factor[rows])

    def _replaced(self, out: Tensor, x: Tensor, end: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        rows = self._gate.rows
        if rows is None or not any(change is not None for change in self._changes):
            return out
        latent = x[rows]
        widths = [int(cast("nn.Linear", module).out_features) for module in self._modules]
        parts = [
            latent.new_zeros(len(latent), width) if change is None else change(latent)
            for change, width in zip(self._changes, widths, strict=True)
        ]
        changed = self._base(latent) + (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))
        return out.index_copy(0, rows, end(changed, rows))
