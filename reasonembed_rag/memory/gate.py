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

    The base computes all rows; only behind an activation are latent rows computed anew.
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
        out, change = self._base(x, activation=activation), self._change(x)
        if change is None:
            return out
        if activation is None:
            return self._added(out, change)
        rows = cast("Tensor", self._gate.rows)
        latent = activate(self._base(x[rows]) + change, activation)
        return out.index_copy(0, rows, latent) if torch.is_grad_enabled() else out.index_copy_(0, rows, latent)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the product plus a residual (T, out)."""
        out, change = self._base.plus(x, residual), self._change(x)
        return out if change is None else self._added(out, change)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Return the product times a factor (T, out), element by element."""
        out, change = self._base.times(x, factor), self._change(x)
        return out if change is None else self._added(out, change * factor[cast("Tensor", self._gate.rows)])

    def _change(self, x: Tensor) -> Tensor | None:
        """Return the change (R, out) of the latent rows; None where there is none."""
        rows = self._gate.rows
        if rows is None or not any(change is not None for change in self._changes):
            return None
        latent = x[rows]
        widths = [int(cast("nn.Linear", module).out_features) for module in self._modules]
        parts = [
            latent.new_zeros(len(latent), width) if change is None else change(latent)
            for change, width in zip(self._changes, widths, strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def _added(self, out: Tensor, change: Tensor) -> Tensor:
        """Add a change to the latent rows of a fresh output; in place where no gradient needs the old ones."""
        rows = cast("Tensor", self._gate.rows)
        return out.index_add(0, rows, change) if torch.is_grad_enabled() else out.index_add_(0, rows, change)
