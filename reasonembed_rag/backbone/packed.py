"""The packed forward: concatenated sequences without padding, through layers read from a transformers model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from reasonembed_rag.backbone.attention import AttentionRule, KeyValue, attend, attend_pooled
from reasonembed_rag.backbone.layout import Layout
from reasonembed_rag.backbone.linears import Linear, activate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from reasonembed_rag.spec import Pooling

    Norm = Callable[[Tensor], Tensor]

__all__ = [
    "Blueprint",
    "FusedGatedMlp",
    "GatedMlp",
    "Heads",
    "Layer",
    "Mlp",
    "PackedForward",
    "PlainMlp",
    "finish_layer",
]


class Mlp(Protocol):
    """The MLP of a layer."""

    def __call__(self, x: Tensor, residual: Tensor | None) -> Tensor:
        """Return the output (T, D), plus a residual if given."""


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """down(act(gate(x)) * up(x))."""

    gate: Linear
    up: Linear
    down: Linear
    activation: str

    def __call__(self, x: Tensor, residual: Tensor | None) -> Tensor:
        inner = self.up.times(x, self.gate(x, activation=self.activation))
        return self.down(inner) if residual is None else self.down.plus(inner, residual)


@dataclass(frozen=True, slots=True)
class FusedGatedMlp:
    """down(act(a) * b) with a and b from one product (ModernBERT)."""

    up: Linear
    down: Linear
    activation: str

    def __call__(self, x: Tensor, residual: Tensor | None) -> Tensor:
        gate, factor = self.up(x).chunk(2, dim=-1)
        inner = activate(gate, self.activation) * factor
        return self.down(inner) if residual is None else self.down.plus(inner, residual)


@dataclass(frozen=True, slots=True)
class PlainMlp:
    """down(act(up(x)))."""

    up: Linear
    down: Linear
    activation: str

    def __call__(self, x: Tensor, residual: Tensor | None) -> Tensor:
        inner = self.up(x, activation=self.activation)
        return self.down(inner) if residual is None else self.down.plus(inner, residual)


@dataclass(frozen=True, slots=True)
class Heads:
    """Query heads H, key heads K and the width d of each."""

    queries: int
    keys: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One transformer layer; norms come before attention and MLP (decoders), after them (BERT), or both (Gemma)."""

    heads: Heads
    rule: AttentionRule
    rotary: str | None
    """Key of the rotary table; None without rotary positions."""
    qkv: Linear
    query: Linear
    """The query part of qkv, for a last layer in which only the pooled token is a query."""
    key_value: Linear
    out: Linear
    mlp: Mlp
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    before_attention: Norm | None = None
    after_attention: Norm | None = None
    before_mlp: Norm | None = None
    after_mlp: Norm | None = None
    norm_of_sum: bool = False
    """Whether the norms after attention and MLP apply to the sum with the residual (BERT) or to the output (Gemma)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A backbone in the form that the packed forward runs."""

    embed: Callable[[Tensor, Tensor], Tensor]
    """(ids (T,), positions (T,)) to the first states (T, D)."""
    layers: Sequence[Layer]
    final_norm: Norm | None
    rotary_table: Callable[[str, int], tuple[Tensor, Tensor]] | None
    """(key, length) to cos and sin, (length, d) each."""
    device: torch.device
    dtype: torch.dtype


class PackedForward:
    """Compute pooled states of packs of sequences, without padding and without unused tokens in the last layer."""

    def __init__(self, blueprint: Blueprint, *, pooling: Pooling, checkpointing: bool = False) -> None:
        """With checkpointing, backward keeps only each layer's input and computes the layer again."""
        self._blueprint = blueprint
        self._checkpointing = checkpointing
        self._pooling: Pooling = pooling
        self._tables: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def shares_prefixes(self) -> bool:
        """Whether keys and values of a common prefix can be reused: all layers are causal."""
        return all(layer.rule.causal for layer in self._blueprint.layers)

    @property
    def pools_last(self) -> bool:
        """Whether the vector is the last token's state."""
        return self._pooling == "last"

    def __call__(
        self, sequences: Sequence[NDArray[np.int32]], *, skip: int = 0, prefix: Sequence[KeyValue] | None = None
    ) -> Tensor:
        """Return pooled float32 states (n, D) of n token sequences; mean pooling leaves out the first `skip` tokens.

        prefix holds each layer's keys and values of tokens before every sequence.
        """
        known = 0 if prefix is None else len(prefix[0].key_PKd)
        layout = Layout([len(sequence) for sequence in sequences], prefix=known, device=self._blueprint.device)
        state = self._embed(sequences, layout)
        layers = self._blueprint.layers
        pooled_rows = self._pooled_rows(layout)
        for number, layer in enumerate(layers):
            last = number == len(layers) - 1
            before = None if prefix is None else prefix[number]
            rows = pooled_rows if last else None
            if self._checkpointing and torch.is_grad_enabled():
                state = checkpoint(self._layer, layer, state, layout, before, rows=rows, use_reentrant=False)
            else:
                state = self._layer(layer, state, layout, before, rows=rows)
        if pooled_rows is not None and not self._needs_pooled_only(layers[-1]):
            state = state[pooled_rows]
        if self._blueprint.final_norm is not None:
            state = self._blueprint.final_norm(state)
        return state.float() if pooled_rows is not None else _mean(state, layout, skip=skip)

    def prefix(self, ids: NDArray[np.int32]) -> list[KeyValue]:
        """Return each layer's keys and values of a prefix that sequences share."""
        layout = Layout([len(ids)], device=self._blueprint.device)
        state = self._embed([ids], layout)
        kept: list[KeyValue] = []
        layers = self._blueprint.layers
        for number, layer in enumerate(layers):
            x = state if layer.before_attention is None else layer.before_attention(state)
            query, key, value = self._heads(layer, layer.qkv(x), layout.positions_T)
            kept.append(KeyValue(key.clone(), value.clone()))
            if number < len(layers) - 1:
                mixed = attend(query, key, value, layout=layout, rule=layer.rule, prefix=None)
                state = finish_layer(layer, state, mixed)
        return kept

    def _embed(self, sequences: Sequence[NDArray[np.int32]], layout: Layout) -> Tensor:
        ids_T = torch.from_numpy(np.concatenate(sequences).astype(np.int64)).to(self._blueprint.device)
        return self._blueprint.embed(ids_T, layout.positions_T)

    def _pooled_rows(self, layout: Layout) -> Tensor | None:
        if self._pooling == "mean":
            return None
        return layout.last_B if self._pooling == "last" else layout.first_B

    def _needs_pooled_only(self, layer: Layer) -> bool:
        rule = layer.rule
        sees_all = rule.bias is None and (rule.window is None or rule.causal)
        return sees_all and self._pooling == ("last" if rule.causal else self._pooling)

    def _layer(
        self, layer: Layer, state: Tensor, layout: Layout, prefix: KeyValue | None, *, rows: Tensor | None
    ) -> Tensor:
        x = state if layer.before_attention is None else layer.before_attention(state)
        if rows is None or not self._needs_pooled_only(layer):
            query, key, value = self._heads(layer, layer.qkv(x), layout.positions_T)
            mixed = attend(query, key, value, layout=layout, rule=layer.rule, prefix=prefix)
            return finish_layer(layer, state, mixed)
        heads = layer.heads
        key_value = layer.key_value(x)
        key = key_value[:, : heads.keys * heads.width].unflatten(1, (heads.keys, heads.width))
        value = key_value[:, heads.keys * heads.width :].unflatten(1, (heads.keys, heads.width))
        query = layer.query(x[rows]).unflatten(1, (heads.queries, heads.width))
        query = self._rotate(layer, query, layer.query_norm, layout.positions_T[rows])
        key = self._rotate(layer, key, layer.key_norm, layout.positions_T)
        mixed = attend_pooled(query, key, value, layout=layout, rule=layer.rule, prefix=prefix)
        return finish_layer(layer, state[rows], mixed)

    def _heads(self, layer: Layer, qkv: Tensor, positions_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heads = layer.heads
        split = qkv.unflatten(1, (heads.queries + 2 * heads.keys, heads.width))
        query, key, value = split.split([heads.queries, heads.keys, heads.keys], dim=1)
        query = self._rotate(layer, query, layer.query_norm, positions_T)
        return query, self._rotate(layer, key, layer.key_norm, positions_T), value

    def _rotate(self, layer: Layer, x_THd: Tensor, norm: Norm | None, positions_T: Tensor) -> Tensor:
        if norm is not None:
            x_THd = norm(x_THd)
        if layer.rotary is None:
            return x_THd
        cos, signed_sin = self._rotary(layer.rotary, positions_T)
        half = x_THd.shape[-1] // 2
        return x_THd * cos + x_THd.roll(half, dims=-1) * signed_sin

    def _rotary(self, key: str, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Return cos and sin (T, 1, d); the first half of sin is negated, so that rolling replaces rotate-half."""
        needed = int(positions_T.max()) + 1
        if key not in self._tables or len(self._tables[key][0]) < needed:
            if self._blueprint.rotary_table is None:
                raise RuntimeError("a layer needs rotary positions, the blueprint has none")
            cos, sin = self._blueprint.rotary_table(key, max(512, 1 << (needed - 1).bit_length()))
            signed = torch.cat([-sin[:, : sin.shape[1] // 2], sin[:, sin.shape[1] // 2 :]], dim=1)
            self._tables[key] = cos.to(self._blueprint.dtype), signed.to(self._blueprint.dtype)
        cos, signed = self._tables[key]
        return cos[positions_T, None], signed[positions_T, None]


def finish_layer(layer: Layer, state: Tensor, mixed: Tensor) -> Tensor:
    """Finish a layer after attention: output linear, residuals, norms and MLP."""
    if layer.norm_of_sum:
        state = _normed(layer.after_attention, layer.out.plus(mixed, state))
        return _normed(layer.after_mlp, layer.mlp(state, state))
    if layer.after_attention is not None:
        state = state + layer.after_attention(layer.out(mixed))
    else:
        state = layer.out.plus(mixed, state)
    x = _normed(layer.before_mlp, state)
    if layer.after_mlp is not None:
        return state + layer.after_mlp(layer.mlp(x, None))
    return layer.mlp(x, state)


def _normed(norm: Norm | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)


def _mean(state_TD: Tensor, layout: Layout, *, skip: int) -> Tensor:
    """Return each sequence's mean state after `skip` tokens, in float32; its last state if none is left."""
    state, sequence = state_TD.float(), layout.sequence_T
    lengths = layout.lengths
    if skip:
        skipped = np.minimum(skip, lengths - 1)
        counted = layout.positions_T >= torch.from_numpy(skipped).to(state.device)[sequence]
        state, sequence, lengths = state[counted], sequence[counted], lengths - skipped
    sums = torch.zeros(len(lengths), state.shape[1], device=state.device).index_add_(0, sequence, state)
    return sums / torch.from_numpy(lengths).to(state.device)[:, None]
