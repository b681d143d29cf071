"""Before 8-bit integers: move outliers of states into weights, where every column has a scale of its own.

States are quantised with one scale for a whole batch, which a few large columns would coarsen for all. Each column is
divided by a factor, and the row of the weight that meets it multiplied (SmoothQuant, arXiv 2211.10438, equation 4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.graph.builder import GraphBuilder
from reasonembed_rag.graph.cache import open_memory
from reasonembed_rag.graph.products import INT8_PLANS, LayerPart, LinearLayer, Products
from reasonembed_rag.graph.writing import write_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["column_peaks"]


@dataclass(frozen=True, slots=True)
class _Watched(Products):
    """Products in float32 whose states' largest absolute values by column are outputs of the graph."""

    outputs: dict[str, str] = field(default_factory=dict)

    def multiply(self, builder: GraphBuilder, states: str, layers: Sequence[LinearLayer], part: LayerPart) -> list[str]:
        size = builder.node("Abs", [states])
        self.outputs[layers[0].name] = builder.output(builder.node("ReduceMax", [size], axes=[0, 1], keepdims=0))
        return Products().multiply(builder, states, layers, part)


def column_peaks(
    weights: EncoderWeights, sample: Sequence[NDArray[np.int32]], *, options: Callable[[], Any]
) -> Mapping[str, NDArray[np.float32]]:
    """Return the largest absolute value of every column of states over a sample, by the first layer that they meet."""
    watched = _Watched(INT8_PLANS[0])  # as integers stand in the graph
    session = open_memory(write_graph(weights, watched), options).session
    names = list(watched.outputs.values())
    runs = [session.run(names, {"ids": ids[None], "lengths": np.asarray([len(ids)], np.int32)}) for ids in sample]
    return {name: np.max(peaks, axis=0) for name, peaks in zip(watched.outputs, zip(*runs, strict=True), strict=True)}
