"""Products of states and weights in a graph: float32, or 8-bit integers with one scale per column of the weight."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from reasonembed_rag.graph.builder import FUSED
from reasonembed_rag.graph.rounding import LEAST_SCALE, column_factors, error_carriers, rounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.graph.builder import GraphBuilder

__all__ = ["INT8_PLANS", "LayerPart", "LinearLayer", "Products", "joined_bias", "largest_weight"]

LayerPart = Literal["qkv", "out", "up", "down"]
"""Where in a layer a product stands: before and after attention, into and out of the feed-forward's inner width."""
_BY_ROW: frozenset[LayerPart] = frozenset({"down"})
"""Where states are quantised with a scale per token: behind an activation, where few tokens have the largest states."""
_SUMS_IN_32_BITS = ("avx512_vnni", "avx_vnni")


class LinearLayer(NamedTuple):
    """A linear layer: its name, its weight (K, N) and its bias (N,)."""

    name: str
    weight_KN: NDArray[np.float32]
    bias_N: NDArray[np.float32] | None = None
    divisors_N: NDArray[np.float32] | None = None
    """By what outputs are divided, where the next layer asks for it."""

    def divided(self) -> LinearLayer:
        """Return the layer with its divisors in weight and bias."""
        if self.divisors_N is None:
            return self
        bias_N = None if self.bias_N is None else self.bias_N / self.divisors_N
        return LinearLayer(self.name, self.weight_KN / self.divisors_N, bias_N)


def joined_bias(layers: Sequence[LinearLayer]) -> NDArray[np.float32] | None:
    """Return the biases of layers, divided as their outputs are, one after another; None where none has one."""
    if all(layer.bias_N is None for layer in layers):
        return None
    biases = [layer.divided().bias_N for layer in layers]
    widths = [layer.weight_KN.shape[1] for layer in layers]
    return np.concatenate(
        [np.zeros(n, np.float32) if bias is None else bias for bias, n in zip(biases, widths, strict=True)]
    )


@dataclass(frozen=True, slots=True)
class Products:
    """Write the products of a graph; those of the parts in `int8` in 8-bit integers, states quantised as they come."""

    int8: frozenset[LayerPart] = frozenset()
    states: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    """Typical states (T, K) that a layer multiplies, by its name, where they are known; weights are rounded by them."""
    integers: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    """Weights that were rounded by these states already, by the names of their layers; others are added."""

    def divisors(self, out: LinearLayer) -> NDArray[np.float32] | None:
        """Return by what the layer of the values has to divide its outputs for the layer behind attention (K,).

        Attention mixes tokens and leaves columns apart, so that these states need no division of their own.
        """
        if "out" not in self.int8 or out.name not in self.states:
            return None
        return column_factors(self.states[out.name].astype(np.float32), [out.weight_KN])

    def multiply(self, builder: GraphBuilder, states: str, layers: Sequence[LinearLayer], part: LayerPart) -> list[str]:
        """Return the names of what linear layers make of the same states (.., K); those of "out" are divided before."""
        if part not in self.int8:
            return [_float32(builder, states, layer.divided()) for layer in layers]
        carriers_KK = None
        if layers[0].name in self.states:
            typical_TK = self.states[layers[0].name].astype(np.float32)
            factors_K = column_factors(typical_TK, [layer.weight_KN for layer in layers])
            if part != "out":
                factors = builder.constant(f"{layers[0].name}.factors", 1 / factors_K)
                states = builder.node("Mul", [states, factors])
            layers = [layer._replace(weight_KN=layer.weight_KN * factors_K[:, None]) for layer in layers]
            if any(layer.name not in self.integers for layer in layers):
                carriers_KK = error_carriers(typical_TK / factors_K)
        peak = _row_peak(builder, states) if part in _BY_ROW else ""
        if peak:
            states = builder.node("Div", [states, peak])
        weights = [self._rounded(layer, carriers_KK) for layer in layers]
        bias_N = joined_bias(layers)
        product = _int8(builder, states, layers[0].name, weights, None if peak else bias_N)
        if peak:
            product = _biased(builder, builder.node("Mul", [product, peak]), layers[0].name, bias_N)
        if len(layers) == 1:
            return [product]
        widths = builder.integers(*(layer.weight_KN.shape[1] for layer in layers))
        return builder.nodes("Split", [product, widths], outputs=len(layers), axis=-1)

    def _rounded(self, layer: LinearLayer, carriers_KK: NDArray[np.float64] | None) -> _Rounded:
        largest = largest_weight()
        scale_N = (np.maximum(np.abs(layer.weight_KN).max(axis=0), LEAST_SCALE) / largest).astype(np.float32)
        if layer.name not in self.integers:
            self.integers[layer.name] = rounded(layer.weight_KN, scale_N, carriers_KK, largest=largest)
        divided_N = scale_N if layer.divisors_N is None else scale_N / layer.divisors_N
        return _Rounded(self.integers[layer.name], divided_N)


class _Rounded(NamedTuple):
    """Integers (K, N) and the scale of each column (N,)."""

    integers_KN: NDArray[np.int8]
    scale_N: NDArray[np.float32]


def _int8(
    builder: GraphBuilder, states: str, name: str, weights: Sequence[_Rounded], bias_N: NDArray[np.float32] | None
) -> str:
    """Return the product of states, quantised with one scale for all, and weights side by side."""
    integers_KN, scale_N = weights[0]
    if len(weights) > 1:
        integers_KN, scale_N = (np.concatenate(parts, axis=-1) for parts in zip(*weights, strict=True))
    inputs = [builder.constant(f"{name}.weight.int8", integers_KN), builder.constant(f"{name}.weight.scale", scale_N)]
    bias = [] if bias_N is None else ["", builder.constant(f"{name}.bias", bias_N)]  # the weights have no zero points
    return builder.node("DynamicQuantizeMatMul", [states, *inputs, *bias], domain=FUSED)


def _float32(builder: GraphBuilder, states: str, layer: LinearLayer) -> str:
    weight = builder.constant(f"{layer.name}.weight", layer.weight_KN)
    return _biased(builder, builder.node("MatMul", [states, weight]), layer.name, layer.bias_N)


def _biased(builder: GraphBuilder, product: str, name: str, bias_N: NDArray[np.float32] | None) -> str:
    if bias_N is None:
        return product
    return builder.node("Add", [product, builder.constant(f"{name}.bias", bias_N)])


def _row_peak(builder: GraphBuilder, states: str) -> str:
    """Return the largest absolute value of each row of states (.., 1), above zero."""
    least = builder.constant("least_scale", np.asarray(LEAST_SCALE, np.float32))
    return builder.node("Max", [builder.node("ReduceMax", [builder.node("Abs", [states])], axes=[-1]), least])


INT8_PLANS: tuple[frozenset[LayerPart], ...] = (
    frozenset({"qkv", "out", "up", "down"}),
    frozenset({"qkv", "out", "up"}),
    frozenset({"qkv", "up"}),
)
"""What to try for dtype int8, the fastest first: the second feed-forward product is the most sensitive, then "out"."""


@functools.cache
def largest_weight() -> int:
    """Return the largest integer of a quantised weight.

    x86 processors without VNNI add pairs of products in 16 bits, which 8-bit weights would overflow.
    """
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return 127
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    return 127 if any(flag in flags for flag in _SUMS_IN_32_BITS) else 63
