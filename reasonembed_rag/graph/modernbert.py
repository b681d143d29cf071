"""ModernBERT as one graph: local and global attention, rotary positions, gated feed-forward, norms before each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.graph.attention import LayerAttention
from reasonembed_rag.graph.builder import FUSED, GraphBuilder
from reasonembed_rag.graph.products import LinearLayer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reasonembed_rag.graph.builder import Graph
    from reasonembed_rag.graph.products import LayerPart, Products
    from reasonembed_rag.graph.weights import NamedTensors

__all__ = ["MODERN_ANCHOR", "modern_bert_graph", "modern_bert_reason"]

MODERN_ANCHOR = "embeddings.tok_embeddings.weight"
"""A tensor that every ModernBERT has."""
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_BASES = {_GLOBAL: ("global_rope_theta", 160_000.0), _LOCAL: ("local_rope_theta", 10_000.0)}
"""Where files of older versions keep the base of the rotary angles, and its default."""
_SIDES = {"masked": -1e30, "unmasked": 0.0}
"""What is added to scores beyond the window and within it; finite: padding may have nothing else to attend to."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What config.json says of the model."""

    width: int
    inner: int
    heads: int
    vocabulary: int
    positions: int
    window: int
    """Farthest distance that local attention reaches."""
    epsilon: float
    kinds: tuple[str, ...]
    bases: Mapping[str, float]


def modern_bert_reason(config: Mapping[str, Any]) -> str | None:
    """Return why a ModernBERT cannot be written as a graph; None where it can."""
    activation = config.get("hidden_activation", "gelu")
    if activation != "gelu":
        return f"its activation is {activation}"
    rotary = config.get("rope_parameters") or {}
    kinds = {str(one.get("rope_type", "default")) for one in rotary.values() if isinstance(one, dict)}
    if config.get("rope_scaling") or kinds - {"default"}:
        return "its rotary positions are scaled"
    return None


def modern_bert_graph(config: Mapping[str, Any], tensors: NamedTensors, products: Products) -> Graph:
    """Write the graph."""
    shape = _shape(config)
    builder = GraphBuilder()
    words = builder.constant("words", tensors.get(MODERN_ANCHOR, shape.vocabulary, shape.width))
    layer = _Layers(builder, shape, tensors, products)
    states = layer.norm("embeddings.norm", builder.node("Gather", [words, "ids"]))
    for number in range(len(shape.kinds)):
        states = layer(number, states)
    return builder.finish(layer.norm("final_norm", states), width=shape.width)


def _shape(config: Mapping[str, Any]) -> _Shape:
    every = config.get("global_attn_every_n_layers", 3)
    layers = config["num_hidden_layers"]
    kinds = config.get("layer_types") or [_LOCAL if number % every else _GLOBAL for number in range(layers)]
    rotary = config.get("rope_parameters") or {}
    bases = {
        kind: float(rotary.get(kind, {}).get("rope_theta") or config.get(name) or default)
        for kind, (name, default) in _BASES.items()
    }
    return _Shape(
        width=config["hidden_size"],
        inner=config["intermediate_size"],
        heads=config["num_attention_heads"],
        vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"],
        window=config.get("local_attention", 128) // 2,
        epsilon=config.get("norm_eps", 1e-5),
        kinds=tuple(kinds),
        bases=bases,
    )


class _Layers:
    """Write layer after layer; what all layers of one kind share is written once."""

    def __init__(self, builder: GraphBuilder, shape: _Shape, tensors: NamedTensors, products: Products) -> None:
        self._builder, self._shape, self._tensors, self._products = builder, shape, tensors, products
        self._attend = LayerAttention(builder, heads=shape.heads)
        self._window = self._local_bias() if _LOCAL in shape.kinds else ""

    def __call__(self, number: int, states: str) -> str:
        """Return the states after one layer."""
        shape, prefix = self._shape, f"layers.{number}."
        normed = self.norm(f"{prefix}attn_norm", states) if number else states
        states = self._add(states, self._attention(prefix, normed, shape.kinds[number]))
        normed = self.norm(f"{prefix}mlp_norm", states)
        both = self._linear("up", f"{prefix}mlp.Wi", normed, (2 * shape.inner, shape.width))
        halves = [both, self._builder.integers(shape.inner, shape.inner)]
        inner, gate = self._builder.nodes("Split", halves, outputs=2, axis=-1)
        active = self._builder.node("Mul", [self._builder.node("Gelu", [inner], domain=FUSED), gate])
        return self._add(states, self._linear("down", f"{prefix}mlp.Wo", active, (shape.width, shape.inner)))

    def norm(self, name: str, states: str) -> str:
        """Return the layer norm of states; most checkpoints have no bias there."""
        vectors = [self._vector(f"{name}.weight", self._shape.width)]
        if self._tensors.find(f"{name}.bias") is not None:
            vectors.append(self._vector(f"{name}.bias", self._shape.width))
        return self._builder.node("LayerNormalization", [states, *vectors], axis=-1, epsilon=self._shape.epsilon)

    def _attention(self, prefix: str, states: str, kind: str) -> str:
        width = self._shape.width
        inward, out = (
            self._layer(f"{prefix}attn.Wqkv", (3 * width, width)),
            self._layer(f"{prefix}attn.Wo", (width, width)),
        )
        divisors_N = self._products.divisors(out)
        if divisors_N is not None:
            inward = inward._replace(divisors_N=np.concatenate([np.ones(2 * width, np.float32), divisors_N]))
        qkv = self._products.multiply(self._builder, states, [inward], "qkv")[0]
        query, key, value = self._builder.nodes(
            "Split", [qkv, self._builder.integers(width, width, width)], outputs=3, axis=-1
        )
        query, key = self._rotated(query, kind), self._rotated(key, kind)
        mixed = self._attend(query, key, value, bias=self._window if kind == _LOCAL else "")
        return self._products.multiply(self._builder, mixed, [out], "out")[0]

    def _rotated(self, states: str, kind: str) -> str:
        size = self._shape.width // self._shape.heads
        steps = self._shape.bases[kind] ** -(np.arange(0, size, 2, dtype=np.float32) / size)
        angles = np.arange(self._shape.positions, dtype=np.float32)[:, None] * steps.astype(np.float32)
        tables = [
            self._builder.constant(f"{kind}.{name}", function(angles).astype(np.float32))
            for name, function in (("cos", np.cos), ("sin", np.sin))
        ]
        inputs = [states, self._builder.integers(0), *tables]
        return self._builder.node("RotaryEmbedding", inputs, domain=FUSED, num_heads=self._shape.heads)

    def _local_bias(self) -> str:
        """Return what is added to scores (1, 1, S, S): 0 within the window, a large negative number beyond it."""
        node, integers = self._builder.node, self._builder.integers
        numbers = self._builder.constant("numbers", np.arange(self._shape.positions, dtype=np.float32))
        row = node("Slice", [numbers, integers(0), self._builder.length(), integers(0)])
        distance = node("Abs", [node("Sub", [node("Unsqueeze", [row, integers(1)]), row])])
        farthest = self._builder.constant("window", np.asarray(self._shape.window, np.float32))
        sides = [self._builder.constant(name, np.asarray(value, np.float32)) for name, value in _SIDES.items()]
        masked = node("Where", [node("Greater", [distance, farthest]), *sides])
        return node("Unsqueeze", [masked, integers(0, 1)])

    def _linear(self, part: LayerPart, name: str, states: str, shape: tuple[int, int]) -> str:
        return self._products.multiply(self._builder, states, [self._layer(name, shape)], part)[0]

    def _layer(self, name: str, shape: tuple[int, int]) -> LinearLayer:
        """Return a linear layer whose weight in the files is the transpose (outputs, inputs)."""
        bias = None if self._tensors.find(f"{name}.bias") is None else self._tensors.get(f"{name}.bias", shape[0])
        return LinearLayer(name, self._tensors.get(f"{name}.weight", *shape).T, bias)

    def _vector(self, name: str, size: int) -> str:
        return self._builder.constant(name, self._tensors.get(name, size))

    def _add(self, left: str, right: str) -> str:
        return self._builder.node("Add", [left, right])
