"""Linear layers with constant weights, in the form that the processor runs fastest."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from reasonembed_rag.backbone.marks import mark, recall
from reasonembed_rag.backbone.processor import multiplies_int8, prepacks, processor_identity

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
"""oneDNN fuses what follows a product into it, so that a little slower is still faster."""
_INT8_PROBE_ROWS = 32
_PROBE_WIDTHS = (256, 512, 1024, 2048)
_PLAIN_LOOP = 3.0
"""How many times as long as float32 an 8-bit product takes when torch has only a loop for it; ten times and more."""


class Linear(Protocol):
    """y = x W^T + b from rows (T, in) to (T, out), fused with the next operation where possible."""

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
    """torch's linear function."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        return activate(functional.linear(x, self.weight, self.bias), activation)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias) + residual

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias) * factor


class LiveLinear:
    """The model's own modules, called in place: gradients flow, and wrappers such as LoRA apply."""

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
    """Some outputs of a linear module, sharing its memory; `whole` and `start` tell which."""

    def __init__(self, whole: torch.nn.Linear, start: int, stop: int) -> None:
        super().__init__(whole.in_features, stop - start, bias=whole.bias is not None, device="meta")
        self.whole, self.start = (whole,), start  # in a tuple: no submodule
        self.weight = torch.nn.Parameter(whole.weight[start:stop], requires_grad=False)
        if whole.bias is not None:
            self.bias = torch.nn.Parameter(whole.bias[start:stop], requires_grad=False)


class Int8Linear:
    """8-bit weights (one scale per output) and 8-bit inputs (one scale per row), summed exactly or in float32."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        scale_O = weight.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        self._product = _int8_product()((weight.float() / scale_O[:, None]).round())
        self._scale_O = scale_O
        self._bias = None if bias is None else bias.float()

    def __call__(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        scale_T1 = x.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / 127
        product = self._product((x.float() / scale_T1).round()) * (scale_T1 * self._scale_O)
        if self._bias is not None:
            product += self._bias
        return activate(product, activation).to(x.dtype)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x).add_(residual)

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        return self(x).mul_(factor)


def _in_8_bits(weight_OI: Tensor) -> Callable[[Tensor], Tensor]:
    """Multiply whole numbers up to 127 as 8-bit integers."""
    weight_IO = weight_OI.to(torch.int8).t().contiguous()
    return lambda x_TI: torch._int_mm(x_TI.to(torch.int8), weight_IO).float()  # noqa: SLF001 - it has no public name


def _in_float32(weight_OI: Tensor) -> Callable[[Tensor], Tensor]:
    """Multiply the same whole numbers as float32, which holds their sums exactly up to 1,040 inputs."""
    return lambda x_TI: functional.linear(x_TI, weight_OI)


@functools.cache
def _int8_product() -> Callable[[Tensor], Callable[[Tensor], Tensor]]:
    """Choose once per machine: 8-bit integers where they are summed exactly and torch has more than a plain loop."""
    if not multiplies_int8():
        return _in_float32
    weight_OI, x_TI = torch.full((512, 512), 127.0), torch.full((_INT8_PROBE_ROWS, 512), 127.0)
    kinds = (_in_8_bits, _in_float32)
    wide = _remembered(
        "int8 by way of float32",
        lambda: [_least_time(functools.partial(kind(weight_OI), x_TI)) for kind in kinds],
        most=_PLAIN_LOOP,
    )
    return _in_float32 if wide else _in_8_bits


def make_live(modules: Sequence[Module]) -> Linear:
    """Call the modules in place and concatenate their outputs, for training."""
    return LiveLinear(modules)


def make_fast(modules: Sequence[Module], *, int8: bool = False) -> Linear:
    """Copy the stacked weights of linear modules into the fastest form, for inference."""
    weight = _stack([module.weight for module in modules])
    biases = [getattr(module, "bias", None) for module in modules]
    bias = None if biases[0] is None else _stack(biases)
    if int8:
        return Int8Linear(weight, bias)
    return _fastest(weight.device.type, weight.dtype, _width_class(weight))(weight, bias)


def _stack(tensors: Sequence[object]) -> Tensor:
    plain = [tensor.detach() for tensor in tensors if isinstance(tensor, torch.Tensor)]
    return plain[0] if len(plain) == 1 else torch.cat(plain)


def _width_class(weight: Tensor) -> int:
    """Return the width of the product that stands for those of about this size: a processor's choice may vary by it."""
    return next((width for width in _PROBE_WIDTHS if min(weight.shape) <= width), _PROBE_WIDTHS[-1])


@functools.cache
def _fastest(device: str, dtype: torch.dtype, width: int) -> Callable[[Tensor, Tensor | None], Linear]:
    """Choose the kind of product for a device once per machine: oneDNN where it is right and not much slower."""
    if device != "cpu" or dtype not in {torch.float32, torch.bfloat16} or not prepacks(dtype):
        return PlainLinear
    plain = _remembered(f"plain products of {width} inputs in {dtype}", lambda: _probe(dtype, width), most=_MUCH_SLOWER)
    return PlainLinear if plain else OneDnnLinear


def _probe(dtype: torch.dtype, width: int) -> list[float]:
    """Return the times of oneDNN's product and of torch's own."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(width, width, generator=generator).to(dtype)
    x = torch.randn(_PROBE_ROWS, width, generator=generator).to(dtype)
    kinds = (OneDnnLinear, PlainLinear)
    return [_least_time(functools.partial(kind(weight, None), x, activation="silu")) for kind in kinds]


def _remembered(question: str, times: Callable[[], Sequence[float]], *, most: float) -> bool:
    """Return whether the first of two times is more than `most` times the second, as measured on this processor before.

    Processes that choose alike compute alike, to the last bit; the cache folder holds what was chosen.
    """
    key = f"{question} on {processor_identity()}"
    if (known := recall(key)) in {"yes", "no"}:
        return known == "yes"
    first, second = times()
    mark(key, "yes" if first > most * second else "no")
    return first > most * second


def _least_time(product: Callable[[], object]) -> float:
    """Return the least time of several: what a busy machine adds is left out."""
    times = []
    for _ in range(9):
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return min(times)
