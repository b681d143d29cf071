"""Check a graph before it is used: a format against float32, and float32 against vectors made by transformers."""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.backbone import is_marked, mark
from reasonembed_rag.errors import ModelError
from reasonembed_rag.graph.cache import WRITER, open_memory
from reasonembed_rag.graph.forward import embed
from reasonembed_rag.graph.products import INT8_PLANS, Products, largest_weight
from reasonembed_rag.graph.runtime import onnx_runtime
from reasonembed_rag.graph.session import run_session
from reasonembed_rag.graph.states import typical_states
from reasonembed_rag.graph.writing import write_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.graph.builder import Graph
    from reasonembed_rag.graph.forward import Run
    from reasonembed_rag.graph.weights import EncoderWeights

    Sequences = Sequence[NDArray[np.int32]]

__all__ = ["check_graph", "int8_graph"]

_logger = logging.getLogger(__name__)

_FLOORS = {"float32": 0.9999, "int8": 0.99}
"""Lowest accepted cosine to float32 on the sample, one text at a time. Among other texts, and in batches, which share
some scales, the least may be lower."""
_RECORDED = Path(__file__).with_name("recorded_vectors.json")
"""Vectors of the default models by transformers, with the ids they belong to, by the fingerprint of the weights."""


def int8_graph(weights: EncoderWeights, *, options: Callable[[], Any]) -> Graph:
    """Return the fastest graph in 8-bit integers that is close to float32 on the sample.

    Raises ModelError for a model that none of the plans keeps close enough.
    """
    tensors, sample = weights.tensors(), weights.sample()
    weights = dataclasses.replace(weights, tensors=lambda: tensors)

    def vectors(graph: Graph) -> NDArray[np.float32]:
        return _one_by_one(weights, functools.partial(run_session, open_memory(graph, options)), sample)

    expected = vectors(write_graph(weights, Products()))
    _check_finite(weights, expected, dtype="float32")
    _logger.info("%s: its weights are rounded to int8 by what they do on typical texts, once", weights.spec.model)
    states = typical_states(weights)
    best, integers = -1.0, dict[str, "NDArray[np.int8]"]()
    for parts in INT8_PLANS:
        graph = write_graph(weights, Products(parts, states, integers))
        best = max(best, _least_cosine(vectors(graph), expected))
        if best >= _FLOORS["int8"]:
            return graph
    raise ModelError(
        f"{weights.spec.model}: its least cosine to float32 in int8 is {best:.3f}, want {_FLOORS['int8']}: "
        "its states have outliers that 8-bit integers cannot hold; want dtype='float32'"
    )


def check_graph(weights: EncoderWeights, run: Run, *, dtype: str) -> None:
    """Raise ModelError unless a graph's vectors are those of transformers; a graph that passed is not checked again.

    They are compared with recorded vectors where this room has some of these weights, else with the reference, else
    the log says that they were not checked.
    """
    onnxruntime = onnx_runtime()

    made = f"{WRITER} {onnxruntime.__version__} {largest_weight()}"
    checked = f"graph {weights.digest} {dtype} {weights.spec.pooling} {made}"
    checked += " segments" if weights.segments else ""
    if is_marked(checked):
        return
    recorded = _recorded().get(weights.spec.weights or "")
    if recorded is not None:
        sequences = [np.asarray(ids, np.int32) for ids in recorded["ids"]]
        raw = np.frombuffer(base64.b64decode(recorded["vectors"]), np.float16)
        expected = raw.astype(np.float32).reshape(len(sequences), -1)
    elif weights.reference is not None:
        sequences = list(weights.sample())
        expected = weights.reference(sequences)
    else:
        _logger.info("%s on ONNX Runtime: not checked against transformers, which is not here", weights.spec.model)
        return
    vectors = _one_by_one(weights, run, sequences)
    _check_finite(weights, vectors, dtype=dtype)
    cosine = _least_cosine(vectors, expected)
    if not cosine >= _FLOORS[dtype]:
        raise ModelError(
            f"{weights.spec.model}: on ONNX Runtime its vectors have a cosine of {cosine:.6f} to those of "
            f"transformers, want {_FLOORS[dtype]} or backend='torch', which pip install 'reasonembed-rag[torch]' brings"
        )
    mark(checked)


def _one_by_one(weights: EncoderWeights, run: Run, sequences: Sequences) -> NDArray[np.float32]:
    """Return vectors in the model's full dimension."""
    width = int(weights.config.get("hidden_size") or weights.config["dim"])
    spec = dataclasses.replace(weights.spec, dimension=width)
    return np.concatenate([embed(run, [ids], spec, pad_id=weights.pad_id, skip=0) for ids in sequences])


def _check_finite(weights: EncoderWeights, vectors: NDArray[np.float32], *, dtype: str) -> None:
    if not np.isfinite(vectors).all():
        raise ModelError(
            f"{weights.spec.model} gives vectors that are not finite in {dtype}; the weights are damaged or overflow: "
            "check the files"
        )


def _least_cosine(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the least cosine of rows; NaN if any number is NaN."""
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((got * expected).sum(axis=1) / norms).min())


@functools.cache
def _recorded() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(_RECORDED.read_text(encoding="utf-8"))
    return recorded
