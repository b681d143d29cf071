"""Attention among the tokens of each row; padding is masked only in batches that have some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.graph.builder import FUSED

if TYPE_CHECKING:
    from reasonembed_rag.graph.builder import GraphBuilder

__all__ = ["LayerAttention"]


class LayerAttention:
    """Write the attention of every layer of a graph.

    A mask takes ONNX Runtime a fifth of the time of attention in long rows and half of it in short ones. So each run
    chooses: a row by itself and rows of one length need none.
    """

    def __init__(self, builder: GraphBuilder, *, heads: int) -> None:
        from onnx import TensorProto

        self._builder, self._heads = builder, heads
        shortest = builder.node("ReduceMin", ["lengths"], axes=[0])
        longest = builder.node("Cast", [builder.length()], to=TensorProto.INT32)
        self._even = builder.node("Equal", [shortest, longest])

    def __call__(self, query: str, key: str, value: str, *, added: str = "", bias: str = "") -> str:
        """Return what queries (B, L, D) read from keys and values (B, S, D).

        `added` (3 * D) is added to each query, key and value, the bias (.., L, S) to scores.
        """
        unmasked, masked = ([query, key, value, added, mask, bias] for mask in ("", "lengths"))
        return self._builder.choice(
            self._even, unmasked, masked, op="MultiHeadAttention", domain=FUSED, num_heads=self._heads
        )
