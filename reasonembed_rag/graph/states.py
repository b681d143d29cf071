"""The states that linear layers multiply on typical texts, by which their weights are rounded."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.graph.cache import open_memory
from reasonembed_rag.graph.products import INT8_PLANS, LayerPart, LinearLayer, Products
from reasonembed_rag.graph.session import session_options
from reasonembed_rag.graph.writing import write_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.graph.builder import GraphBuilder
    from reasonembed_rag.graph.weights import EncoderWeights

__all__ = ["typical_states"]

_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True)
class _Watched(Products):
    """Products in float32 whose states are outputs of the graph, end to end."""

    outputs: dict[str, str] = field(default_factory=dict)

    def multiply(self, builder: GraphBuilder, states: str, layers: Sequence[LinearLayer], part: LayerPart) -> list[str]:
        output = builder.output(builder.node("Reshape", [states, builder.integers(-1)]))
        self.outputs.update({layer.name: output for layer in layers})
        return Products().multiply(builder, states, layers, part)


def typical_states(weights: EncoderWeights) -> Mapping[str, NDArray[np.float16]]:
    """Return the states (T, K) of every token of the model's typical texts, by the linear layers that multiply them.

    Float16 halves the memory; numbers beyond it are cut to its largest. One thread computes, so that they are the same
    whatever the number of threads.
    """
    every = dataclasses.replace(weights, spec=dataclasses.replace(weights.spec, pooling="mean"))  # not only the first
    watched = _Watched(INT8_PLANS[0])  # as integers stand in the graph
    options = functools.partial(session_options, threads=1)
    session = open_memory(write_graph(every, watched), options).session
    names = list(dict.fromkeys(watched.outputs.values()))
    seen: dict[str, list[NDArray[np.float16]]] = {name: [] for name in names}
    for ids in weights.typical():
        inputs = {"ids": ids[None], "lengths": np.asarray([len(ids)], np.int32)}
        for name, states in zip(names, session.run(names, inputs), strict=True):
            seen[name].append(np.clip(states.reshape(len(ids), -1), -_LARGEST, _LARGEST).astype(np.float16))
    together = {name: np.concatenate(seen.pop(name)) for name in names}  # never all of them twice
    return {layer: together[output] for layer, output in watched.outputs.items()}
