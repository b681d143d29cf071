"""Several LoRA adapters on one backbone, chosen per call."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import torch

from reasonembed_rag.backbone.linears import SlicedLinear, activate, make_fast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor
    from torch.nn import Module

    from reasonembed_rag.backbone.linears import Linear
    from reasonembed_rag.backbone.lora import Lora, LoraDelta

__all__ = ["AdapterSwitch", "SwitchedLinear"]


class AdapterSwitch:
    """Build linears that apply the active adapter, and select it."""

    def __init__(self, backbone: Module, adapters: Mapping[str, Lora]) -> None:
        self.active: str | None = None
        self._adapters = adapters
        self._path_of = {id(module): path for path, module in backbone.named_modules()}

    def make(self, modules: Sequence[Module], *, int8: bool = False) -> Linear:
        """Build the fast linear of some modules, with the changes of the adapters that touch them."""
        base = make_fast(modules, int8=int8)
        changes = {name: self._changes(lora, modules) for name, lora in self._adapters.items()}
        return SwitchedLinear(base, changes, self) if any(changes.values()) else base

    def _changes(self, lora: Lora, modules: Sequence[Module]) -> list[_Change]:
        changes: list[_Change] = []
        start = 0
        for module in modules:
            weight = module.weight
            if not isinstance(weight, torch.Tensor):
                continue
            delta = self._delta(lora, module)
            if delta is not None:
                changes.append(_Change(start, delta, weight))
            start += len(weight)
        return changes

    def _delta(self, lora: Lora, module: Module) -> LoraDelta | None:
        """Return an adapter's change of a module, or of the part of a module that a slice refers to."""
        if not isinstance(module, SlicedLinear):
            return lora.deltas.get(self._path_of.get(id(module), ""))
        whole = self._delta(lora, module.whole[0])
        return whole and dataclasses.replace(whole, b=whole.b[module.start : module.start + module.out_features])


class _Change:
    """A low-rank addition to some outputs of a linear."""

    def __init__(self, start: int, delta: LoraDelta, like: Tensor) -> None:
        self.start, self.stop = start, start + len(delta.b)
        self.a = torch.tensor(delta.a).to(like)
        self.b = torch.from_numpy(delta.b * delta.scale).to(like)

    def add_to(self, product: Tensor, x: Tensor) -> None:
        product[:, self.start : self.stop] += (x @ self.a.T) @ self.b.T


class SwitchedLinear:
    """A fast linear plus the change of the active adapter."""

    def __init__(self, base: Linear, changes: Mapping[str, list[_Change]], switch: AdapterSwitch) -> None:
        self._base, self._changes, self._switch = base, changes, switch

    def _active(self) -> list[_Change]:
        return self._changes[self._switch.active] if self._switch.active is not None else []

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        """Return the activation of the changed product."""
        changes = self._active()
        if not changes:
            return self._base(x, activation=activation)
        product = self._base(x)
        for change in changes:
            change.add_to(product, x)
        return activate(product, activation)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the changed product plus a residual."""
        return self(x) + residual if self._active() else self._base.plus(x, residual)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Return the changed product times a factor."""
        return self(x) * factor if self._active() else self._base.times(x, factor)
