"""BERT, RoBERTa, XLM-R, CamemBERT, DistilBERT and MPNet as one fused graph."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.backbone import SEGMENT
from reasonembed_rag.graph.attention import LayerAttention
from reasonembed_rag.graph.builder import FUSED, GraphBuilder
from reasonembed_rag.graph.products import LinearLayer, joined_bias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from reasonembed_rag.graph.builder import Graph
    from reasonembed_rag.graph.products import LayerPart, Products
    from reasonembed_rag.graph.weights import NamedTensors

__all__ = ["ANCHOR", "bert_graph", "bert_reason", "relative_buckets"]

ANCHOR = "embeddings.word_embeddings.weight"
"""A tensor that every model of this family has."""
_AFTER_PADDING = {"roberta", "xlm-roberta", "camembert"}
"""Models whose first position comes after that of padding."""
_ACTIVATIONS = {"gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_python", "relu"}
_MPNET_PADDING = 1
"""MPNet counts positions from here, whatever its config.json says of padding."""


@dataclass(frozen=True, slots=True)
class _Names:
    layer: str
    query: str
    key: str
    value: str
    out: str
    first_norm: str
    up: str
    down: str
    last_norm: str


_BERT = _Names(
    "encoder.layer", "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
    "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_MPNET = _Names(
    "encoder.layer", "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
    "attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
)  # fmt: skip
_DISTILBERT = _Names(
    "transformer.layer", "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
    "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Shape:
    """What config.json says of the model."""

    kind: str
    names: _Names
    width: int
    inner: int
    layers: int
    heads: int
    vocabulary: int
    positions: int
    first_position: int
    epsilon: float
    activation: str


def bert_reason(config: Mapping[str, Any]) -> str | None:
    """Return why a model of this family cannot be written as a graph; None where it can."""
    if config.get("is_decoder") or config.get("add_cross_attention"):
        return "it is configured as a decoder"
    if config.get("position_embedding_type", "absolute") != "absolute":
        return f"its positions are {config['position_embedding_type']}"
    activation = _activation(config)
    if activation not in _ACTIVATIONS:
        return f"its activation is {activation}"
    return None


def bert_graph(
    config: Mapping[str, Any],
    tensors: NamedTensors,
    products: Products,
    *,
    first_only: bool,
    segments: bool = False,
) -> Graph:
    """Write the graph; `first_only`: the last layer computes the state of the first token alone (CLS pooling).

    With segments, ids hold token types.
    """
    shape = _shape(config)
    builder = GraphBuilder()
    states = _embeddings(builder, shape, tensors, segments=segments)
    bias = _relative_bias(builder, shape, tensors, int(config.get("relative_attention_num_buckets", 32)))
    attention = LayerAttention(builder, heads=shape.heads)
    for number in range(shape.layers):
        layer = _Layer(builder, shape, tensors, products, number)
        wanted = states
        if first_only and number == shape.layers - 1:
            wanted, bias = _first(builder, states), bias and _first(builder, bias, axis=2)
        states = layer(states, wanted, functools.partial(attention, bias=bias))
    return builder.finish(states, width=shape.width)


def _shape(config: Mapping[str, Any]) -> _Shape:
    kind = config["model_type"]
    own = kind == "distilbert"
    padding = _MPNET_PADDING if kind == "mpnet" else config.get("pad_token_id", 1)
    return _Shape(
        kind=kind,
        names=_DISTILBERT if own else _MPNET if kind == "mpnet" else _BERT,
        width=config["dim" if own else "hidden_size"],
        inner=config["hidden_dim" if own else "intermediate_size"],
        layers=config["n_layers" if own else "num_hidden_layers"],
        heads=config["n_heads" if own else "num_attention_heads"],
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        first_position=padding + 1 if kind in _AFTER_PADDING or kind == "mpnet" else 0,
        epsilon=1e-12 if own else config.get("layer_norm_eps", 1e-12),
        activation=_activation(config),
    )


def _activation(config: Mapping[str, Any]) -> str:
    return str(config.get("activation" if config["model_type"] == "distilbert" else "hidden_act", "gelu"))


def _embeddings(builder: GraphBuilder, shape: _Shape, tensors: NamedTensors, *, segments: bool) -> str:
    width, first = shape.width, shape.first_position
    words = builder.constant("words", tensors.get(ANCHOR, shape.vocabulary, width))
    positions = tensors.get("embeddings.position_embeddings.weight", shape.positions, width)[first:]
    kinds = tensors.find("embeddings.token_type_embeddings.weight")
    if kinds is not None and not segments:
        positions = positions + kinds[0]
    table = builder.constant("positions", positions)
    zero = builder.integers(0)
    ids = "ids"
    if segments and kinds is not None:
        step = builder.constant("segment", np.asarray(SEGMENT, np.int32))
        ids, types = builder.node("Mod", ["ids", step]), builder.node("Div", ["ids", step])
    summed = builder.node(
        "Add", [builder.node("Gather", [words, ids]), builder.node("Slice", [table, zero, builder.length(), zero])]
    )
    if segments and kinds is not None:
        summed = builder.node("Add", [summed, builder.node("Gather", [builder.constant("types", kinds), types])])
    norm = [
        builder.constant(f"embeddings.{side}", tensors.get(f"embeddings.LayerNorm.{side}", width))
        for side in ("weight", "bias")
    ]
    return builder.node("LayerNormalization", [summed, *norm], axis=-1, epsilon=shape.epsilon)


def _first(builder: GraphBuilder, values: str, *, axis: int = 1) -> str:
    """Return the part of values that belongs to the first tokens."""
    return builder.node("Slice", [values, builder.integers(0), builder.integers(1), builder.integers(axis)])


def _relative_bias(builder: GraphBuilder, shape: _Shape, tensors: NamedTensors, buckets: int) -> str:
    """Return MPNet's attention bias (1, heads, S, S), the same in every layer; "" for models without one."""
    if shape.kind != "mpnet":
        return ""
    table = tensors.get("encoder.relative_attention_bias.weight", buckets, shape.heads)
    longest = shape.positions - shape.first_position
    full = table[relative_buckets(longest, buckets=buckets)].transpose(2, 0, 1)[None]
    ends = builder.node("Concat", [builder.length()] * 2, axis=0)
    whole = builder.constant("relative_bias", full)
    return builder.node("Slice", [whole, builder.integers(0, 0), ends, builder.integers(2, 3)])


def relative_buckets(length: int, *, buckets: int, farthest: int = 128) -> NDArray[np.int64]:
    """Return the bucket (length, length) of each pair of positions, as T5 numbers them in both directions."""
    distance = np.arange(length)[None] - np.arange(length)[:, None]
    half = buckets // 2
    exact = half // 2
    size = np.abs(distance)
    ratio = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(farthest / exact))
    far = exact + (ratio * (half - exact)).astype(np.int64)
    bucket: NDArray[np.int64] = (distance > 0) * half + np.where(size < exact, size, np.minimum(far, half - 1))
    return bucket


class _Layer:
    """Attention and feed-forward with norms of their sums with the input."""

    def __init__(
        self, builder: GraphBuilder, shape: _Shape, tensors: NamedTensors, products: Products, number: int
    ) -> None:
        self._builder, self._shape, self._tensors, self._products = builder, shape, tensors, products
        self._prefix = f"{shape.names.layer}.{number}."

    def __call__(self, states: str, wanted: str, attend: Callable[..., str]) -> str:
        """Return the layer's states at the wanted places, which attend to all states."""
        names, shape = self._shape.names, self._shape
        out = self._layer(names.out, (shape.width, shape.width))
        attended = self._attended(states, wanted, attend, self._products.divisors(out))
        mixed = self._products.multiply(self._builder, attended, [out], "out")[0]
        inner = self._norm_of_sum(names.first_norm, mixed, wanted)
        active = self._activated(self._linear("up", inner, names.up, (shape.inner, shape.width)))
        down = self._linear("down", active, names.down, (shape.width, shape.inner))
        return self._norm_of_sum(names.last_norm, down, inner)

    def _attended(
        self, states: str, wanted: str, attend: Callable[..., str], divisors_N: NDArray[np.float32] | None
    ) -> str:
        """Return what the wanted places read from all states, divided as the next layer asks for."""
        names, square = self._shape.names, (self._shape.width, self._shape.width)
        layers = [self._layer(name, square) for name in (names.query, names.key, names.value)]
        layers[2] = layers[2]._replace(divisors_N=divisors_N)
        added, bias_N = "", joined_bias(layers)
        if bias_N is not None and "qkv" not in self._products.int8:
            # Attention adds them in less time than nodes of their own; products in int8 add them in none.
            added = self._builder.constant(f"{layers[0].name}.biases", bias_N)
            layers = [layer._replace(bias_N=None) for layer in layers]
        if wanted == states:
            projected = self._products.multiply(self._builder, states, layers, "qkv")
        else:
            projected = [
                *self._products.multiply(self._builder, wanted, layers[:1], "qkv"),
                *self._products.multiply(self._builder, states, layers[1:], "qkv"),
            ]
        return attend(*projected, added=added)

    def _linear(self, part: LayerPart, states: str, name: str, shape: tuple[int, int]) -> str:
        return self._products.multiply(self._builder, states, [self._layer(name, shape)], part)[0]

    def _layer(self, name: str, shape: tuple[int, int]) -> LinearLayer:
        """Return a linear layer whose weight in the files is the transpose (outputs, inputs)."""
        path = f"{self._prefix}{name}"
        weight, bias = self._tensors.get(f"{path}.weight", *shape), self._tensors.get(f"{path}.bias", shape[0])
        return LinearLayer(path, weight.T, bias)

    def _norm_of_sum(self, name: str, states: str, added: str) -> str:
        """Return the norm of a sum; ONNX Runtime's own fusion of the two takes five times as long."""
        vectors = [self._vector(f"{name}.{side}") for side in ("weight", "bias")]
        summed = self._builder.node("Add", [states, added])
        return self._builder.node("LayerNormalization", [summed, *vectors], axis=-1, epsilon=self._shape.epsilon)

    def _activated(self, states: str) -> str:
        kind = self._shape.activation
        if kind == "relu":
            return self._builder.node("Relu", [states])
        exact = kind in {"gelu", "gelu_python"}
        return self._builder.node("Gelu" if exact else "FastGelu", [states], domain=FUSED)

    def _vector(self, name: str) -> str:
        path = f"{self._prefix}{name}"
        return self._builder.constant(path, self._tensors.get(path, self._shape.width))
