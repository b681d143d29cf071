"""Products of states and weights in a graph: float32, or 8-bit integers with one scale per column of the weight."""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from reasonembed_rag.graph.builder import FUSED, GraphBuilder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["INT8_PLANS", "LayerPart", "Products", "largest_weight"]

LayerPart = Literal["qkv", "out", "up", "down"]
"""Where in a layer a product stands: before and after attention, into and out of the feed-forward's inner width."""
_LEAST_SCALE = 1e-9
_SUMS_IN_32_BITS = ("avx512_vnni", "avx_vnni")


@dataclass(frozen=True, slots=True)
class Products:
    """Write the products of a graph; those of the parts in `int8` in 8-bit integers, states quantised as they come."""

    int8: frozenset[LayerPart] = frozenset()
    peaks: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """The largest absolute value of each column of the states, by the name of the weight, where that is known."""

    def multiply(
        self, builder: GraphBuilder, states: str, weight: tuple[str, NDArray[np.float32]], part: LayerPart
    ) -> str:
        """Return the name of states (.., K) times a named weight (K, N)."""
        name, values_KN = weight
        if part not in self.int8:
            return builder.node("MatMul", [states, builder.constant(name, values_KN)])
        states, values_KN = self._smoothed(builder, states, weight)
        most = largest_weight()
        scale_N = (np.maximum(np.abs(values_KN).max(axis=0), _LEAST_SCALE) / most).astype(np.float32)
        quantised_KN = np.rint(values_KN / scale_N).astype(np.int8)
        inputs = [states, builder.constant(f"{name}.int8", quantised_KN), builder.constant(f"{name}.scale", scale_N)]
        return builder.node("DynamicQuantizeMatMul", inputs, domain=FUSED)

    def _smoothed(
        self, builder: GraphBuilder, states: str, weight: tuple[str, NDArray[np.float32]]
    ) -> tuple[str, NDArray[np.float32]]:
        """Return states divided and a weight multiplied by factors per column, which leaves their product as it was."""
        name, values_KN = weight
        if name not in self.peaks:
            return states, values_KN
        ratio_K = np.maximum(self.peaks[name], _LEAST_SCALE) / np.maximum(np.abs(values_KN).max(axis=1), _LEAST_SCALE)
        factor_K = np.sqrt(ratio_K).astype(np.float32)
        divided = builder.node("Mul", [states, builder.constant(f"{name}.factors", 1 / factor_K)])
        return divided, values_KN * factor_K[:, None]


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
