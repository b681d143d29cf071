"""Products of states and weights in a graph: float32, or 8-bit integers with one scale per column of the weight."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from reasonembed_rag.graph.builder import FUSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.graph.builder import GraphBuilder

__all__ = ["INT8_PLANS", "LayerPart", "LinearLayer", "Products", "largest_weight"]

LayerPart = Literal["qkv", "out", "up", "down"]
"""Where in a layer a product stands: before and after attention, into and out of the feed-forward's inner width."""
_BY_ROW: frozenset[LayerPart] = frozenset({"down"})
"""Where states are quantised with a scale per token: behind an activation, where few tokens have the largest states."""
_LEAST_SCALE = 1e-9
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
    peaks: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """The largest absolute value of each column of the states, by the name of a layer, where that is known."""

    def multiply(self, builder: GraphBuilder, states: str, layers: Sequence[LinearLayer], part: LayerPart) -> list[str]:
        """Return the names of what linear layers make of the same states (.., K)."""
        if part not in self.int8:
            return [_float32(builder, states, layer) for layer in layers]
        states, layers = self._smoothed(builder, states, layers)
        if part not in _BY_ROW:
            quantised = builder.nodes("DynamicQuantizeLinear", [states], outputs=3)
            return [_int8(builder, quantised, layer) for layer in layers]
        peak = _row_peak(builder, states)
        quantised = builder.nodes("DynamicQuantizeLinear", [builder.node("Div", [states, peak])], outputs=3)
        products = [_int8(builder, quantised, layer._replace(bias_N=None)) for layer in layers]
        return [
            _biased(builder, builder.node("Mul", [product, peak]), layer)
            for product, layer in zip(products, layers, strict=True)
        ]

    def _smoothed(
        self, builder: GraphBuilder, states: str, layers: Sequence[LinearLayer]
    ) -> tuple[str, Sequence[LinearLayer]]:
        """Return states divided and weights multiplied by factors per column, which leaves products as they were."""
        name = layers[0].name
        if name not in self.peaks:
            return states, layers
        rows_K = np.max([np.abs(layer.weight_KN).max(axis=1) for layer in layers], axis=0)
        ratio_K = np.maximum(self.peaks[name], _LEAST_SCALE) / np.maximum(rows_K, _LEAST_SCALE)
        factor_K = np.sqrt(ratio_K).astype(np.float32)
        divided = builder.node("Mul", [states, builder.constant(f"{name}.factors", 1 / factor_K)])
        return divided, [layer._replace(weight_KN=layer.weight_KN * factor_K[:, None]) for layer in layers]


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
    least = builder.constant("least_scale", np.asarray(_LEAST_SCALE, np.float32))
    return builder.node("Max", [largest, builder.node("Neg", [smallest]), least])


def _int8(builder: GraphBuilder, quantised: Sequence[str], layer: LinearLayer) -> str:
    """Return the product of 8-bit states, their scale and zero, and a weight with a scale per column."""
    states, scale, zero = quantised
    scale_N = (np.maximum(np.abs(layer.weight_KN).max(axis=0), _LEAST_SCALE) / largest_weight()).astype(np.float32)
    weight = builder.constant(f"{layer.name}.weight.int8", np.rint(layer.weight_KN / scale_N).astype(np.int8))
    scales = builder.constant(f"{layer.name}.weight.scale", scale_N)
    bias = "" if layer.bias_N is None else builder.constant(f"{layer.name}.bias", layer.bias_N)
    return builder.node("MatMulIntegerToFloat", [states, weight, scale, scales, zero, "", bias], domain=FUSED)


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
