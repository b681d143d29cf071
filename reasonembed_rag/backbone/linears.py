"""Matrix products with constant weights, each in the form the processor runs fastest."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.nn import Module

__all__ = [
    "Int8Linear",
    "Linear",
    "LiveLinear",
    "OneDnnLinear",
    "PlainLinear",
    "SlicedLinear",
    "activate",
    "make_fast",
    "make_live",
]

# oneDNN's fused post-operation for each activation: (attribute, algorithm)
_FUSED = {"silu": ("swish", ""), "gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"), "relu": ("relu", "")}
_PROBE_ROWS = 256
_MUCH_SLOWER = 1.2
"""oneDNN does without passes of their own for what follows a product, so that a little slower is still faster."""


class Linear(Protocol):
    """y = x W^T + b, rows x (T, in) to (T, out), with what follows it done in the same pass where possible."""

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        """Return the activation of the product."""

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the product plus a residual (T, out)."""

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """Return the product times a factor (T, out), element by element."""


def activate(x: Tensor, activation: str | None) -> Tensor:
    """Apply a named activation: silu, gelu, gelu_tanh, relu or None."""
    if activation is None:
        return x
    if activation.startswith("gelu"):
        return functional.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")
    return functional.silu(x) if activation == "silu" else functional.relu(x)


class PlainLinear:
    """torch's own product."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        return activate(functional.linear(x, self.weight, self.bias), activation)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias) + residual

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias) * factor


class LiveLinear:
    """The model's own modules, called in place: gradients flow, and what wraps them (LoRA) takes part."""

    def __init__(self, modules: Sequence[Module]) -> None:
        self._modules = list(modules)

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        parts = [module(x) for module in self._modules]
        return activate(parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1), activation)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x) + residual

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return self(x) * factor


class OneDnnLinear:
    """oneDNN with weights reordered once; about twice as fast as MKL on AMD processors, equal to about 1e-6."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PROBE_ROWS)  # noqa: SLF001
        self._bias = bias
        self._product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        attribute, algorithm = _FUSED[activation] if activation else ("none", "")
        product: Tensor = self._product(x, self._weight, self._bias, attribute, [], algorithm)
        return product

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        product: Tensor = self._product.binary(x, residual, self._weight, self._bias, "add")
        return product

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        product: Tensor = self._product.binary(x, factor, self._weight, self._bias, "mul")
        return product


class SlicedLinear(torch.nn.Linear):
    """Some outputs of a linear module, over the same memory; it knows of which module and from which output on."""

    def __init__(self, whole: torch.nn.Linear, start: int, stop: int) -> None:
        super().__init__(whole.in_features, stop - start, bias=whole.bias is not None, device="meta")
        self.whole, self.start = (whole,), start  # in a tuple: no submodule
        self.weight = torch.nn.Parameter(whole.weight[start:stop], requires_grad=False)
        if whole.bias is not None:
            self.bias = torch.nn.Parameter(whole.bias[start:stop], requires_grad=False)


class Int8Linear:
    """8-bit weights (one scale an output) and 8-bit inputs (one scale a row), summed in 32-bit integers."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scale_O = weight.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        self._weight_IO = (weight.float() / scale_O[:, None]).round().to(torch.int8).t().contiguous()
        self._scale_O = scale_O
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        scale_T1 = x.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / 127
        rounded = (x.float() / scale_T1).round().to(torch.int8)
        product = torch._int_mm(rounded, self._weight_IO).float() * (scale_T1 * self._scale_O)  # noqa: SLF001
        if self._bias is not None:
            product += self._bias
        return activate(product, activation).to(x.dtype)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x).add_(residual)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return self(x).mul_(factor)


def make_live(modules: Sequence[Module]) -> Linear:
    """Call the modules in place, their outputs side by side: for training."""
    return LiveLinear(modules)


def make_fast(modules: Sequence[Module], *, int8: bool = False) -> Linear:
    """Copy the weights of one or more linear modules, stacked, into the fastest form: for inference."""
    weight = _stack([module.weight for module in modules])
    biases = [getattr(module, "bias", None) for module in modules]
    bias = None if biases[0] is None else _stack(biases)
    if int8:
        return Int8Linear(weight, bias)
    return _fastest(weight.device.type, weight.dtype)(weight, bias)


def _stack(tensors: Sequence[object]) -> Tensor:
    plain = [tensor.detach() for tensor in tensors if isinstance(tensor, torch.Tensor)]
    return plain[0] if len(plain) == 1 else torch.cat(plain)


@functools.cache
def _fastest(device: str, dtype: torch.dtype) -> Callable[[Tensor, Tensor | None], Linear]:
    """Choose the kind of product for a device once a process: oneDNN where it is there, right and not much slower."""
    if device != "cpu" or dtype not in {torch.float32, torch.bfloat16}:
        return PlainLinear
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(512, 512, generator=generator).to(dtype)
    x = torch.randn(_PROBE_ROWS, 512, generator=generator).to(dtype)
    plain = PlainLinear(weight, None)
    try:
        prepacked = OneDnnLinear(weight, None)
        tolerance = 1e-5 if dtype == torch.float32 else 2e-2
        expected = plain.plus(x, x).float()
        wrong = (prepacked.plus(x, x).float() - expected).norm() > tolerance * expected.norm()
    except (AttributeError, NotImplementedError, RuntimeError):  # private operators: they may go or change
        return PlainLinear
    return PlainLinear if wrong or _least_time(prepacked, x) > _MUCH_SLOWER * _least_time(plain, x) else OneDnnLinear


def _least_time(linear: Linear, x: Tensor) -> float:
    """Return the least time of several: what a busy machine adds is left out."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        linear(x, activation="silu")
        times.append(time.perf_counter() - start)
    return min(times)
