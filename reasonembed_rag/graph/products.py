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

__all__ = ["INT8_PLANS", "LayerPart", "LinearLayer", "Products", "largest_weight"]

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


@dataclass(frozen=True, slots=True)
class Products:
    """Write the products of a graph; those of the parts in `int8` in 8-bit integers, states quantised as they come."""

    int8: frozenset[LayerPart] = frozenset()
    states: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)
    """Typical states (T, K) that a layer multiplies, by its name, where they are known; weights are rounded by them."""
    integers: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    """Weights that were rounded by these states already, by the names of their layers; others are added."""

    def multiply(self, builder: GraphBuilder, states: str, layers: Sequence[LinearLayer], part: LayerPart) -> list[str]:
        """Return the names of what linear layers make of the same states (.., K)."""
        if part not in self.int8:
            return [_float32(builder, states, layer) for layer in layers]
        carriers_KK = None
        if layers[0].name in self.states:
            typical_TK = self.states[layers[0].name].astype(np.float32)
            factors_K = column_factors(typical_TK, [layer.weight_KN for layer in layers])
            factors = builder.constant(f"{layers[0].name}.factors", 1 / factors_K)
            states = builder.node("Mul", [states, factors])
            layers = [layer._replace(weight_KN=layer.weight_KN * factors_K[:, None]) for layer in layers]
            if any(layer.name not in self.integers for layer in layers):
                carriers_KK = error_carriers(typical_TK / factors_K)
        if part not in _BY_ROW:
            quantised = builder.nodes("DynamicQuantizeLinear", [states], outputs=3)
            return [self._int8(builder, quantised, layer, carriers_KK) for layer in layers]
        peak = _row_peak(builder, states)
        quantised = builder.nodes("DynamicQuantizeLinear", [builder.node("Div", [states, peak])], outputs=3)
        products = [self._int8(builder, quantised, layer._replace(bias_N=None), carriers_KK) for layer in layers]
        return [
            _biased(builder, builder.node("Mul", [product, peak]), layer)
            for product, layer in zip(products, layers, strict=True)
        ]

    def _int8(
        self,
        builder: GraphBuilder,
        quantised: Sequence[str],
        layer: LinearLayer,
        carriers_KK: NDArray[np.float64] | None,
    ) -> str:
        """Return the product of 8-bit states, their scale and zero, and a weight with a scale per column."""
        states, scale, zero = quantised
        largest = largest_weight()
        scale_N = (np.maximum(np.abs(layer.weight_KN).max(axis=0), LEAST_SCALE) / largest).astype(np.float32)
        if layer.name not in self.integers:
            self.integers[layer.name] = rounded(layer.weight_KN, scale_N, carriers_KK, largest=largest)
        weight = builder.constant(f"{layer.name}.weight.int8", self.integers[layer.name])
        scales = builder.constant(f"{layer.name}.weight.scale", scale_N)
        bias = "" if layer.bias_N is None else builder.constant(f"{layer.name}.bias", layer.bias_N)
        return builder.node("MatMulIntegerToFloat", [states, weight, scale, scales, zero, "", bias], domain=FUSED)


def _float32(builder: GraphBuilder, states: str, layer: LinearLayer) -> str:
    weight = builder.constant(f"{layer.name}.weight", layer.weight_KN)
    return _biased(builder, builder.node("MatMul", [states, weight]), layer)


def _biased(builder: GraphBuilder, product: str, layer: LinearLayer) -> str:
    if layer.bias_N is None:
        return product
    return builder.node("Add", [product, builder.constant(f"{layer.name}.bias", layer.bias_N)])


def _row_peak(builder: GraphBuilder, states: str) -> str:
    """Return the largest absolute value of each row of states (.., 1), above zero."""
    largest, smallest = (builder.node(op, [states], axes=[-1]) for op in ("ReduceMax", "ReduceMin"))
    least = builder.constant("least_scale", np.asarray(LEAST_SCALE, np.float32))
    return builder.node("Max", [largest, builder.node("Neg", [smallest]), least])


INT8_PLANS: tuple[frozenset[LayerPart], ...] = (
    frozenset({"qkv", "out", "up", "down"}),
    frozenset({"qkv", "out", "up"}),
)
"""What to try for dtype int8, the fastest first: the second feed-forward product is the most sensitive."""


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
