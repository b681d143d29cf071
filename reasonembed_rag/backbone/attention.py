"""Attention within each sequence of a pack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from reasonembed_rag.backbone.layout import Bucket, Layout

__all__ = ["AttentionRule", "KeyValue", "attend", "attend_pooled"]

_BLOCK = 128
"""Query rows per step of the blocked product."""
_SCORES = 2_000_000
"""Scores per step, over several sequences: few enough for the processor's cache, and to bound memory."""


class KeyValue(NamedTuple):
    """Keys and values (P, K, d) of a prefix before every sequence."""

    key_PKd: Tensor
    value_PKd: Tensor


@dataclass(frozen=True, slots=True)
class AttentionRule:
    """Mask and scores of a layer's attention."""

    causal: bool
    scale: float
    window: int | None = None
    """Tokens attend to those at a smaller distance; None: to all."""
    softcap: float | None = None
    """Scores become softcap * tanh(score / softcap) (Gemma 2)."""
    bias: Callable[[int], Tensor] | None = None
    """Additive scores (H, L, L) for a sequence of L tokens, bidirectional (MPNet)."""

    def plain(self, length: int) -> bool:
        """Whether only causality and padding mask a sequence of this length, prefix included."""
        far = self.window is not None and length > self.window
        return not far and self.softcap is None and self.bias is None


def attend(
    query_THd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    *,
    layout: Layout,
    rule: AttentionRule,
    prefix: KeyValue | None,
) -> Tensor:
    """Return the attention output (T, H * d) of every token; H query heads share K key heads."""
    if _has_varlen(query_THd) and rule.plain(int(layout.lengths.max()) + layout.prefix):
        return _varlen(query_THd, key_TKd, value_TKd, layout=layout, rule=rule, prefix=prefix)
    outputs = []
    for bucket in layout.buckets:
        query, key, value = bucket.pad(query_THd), bucket.pad(key_TKd), bucket.pad(value_TKd)
        mixed_BLHd = _attend_bucket(query, key, value, bucket=bucket, rule=rule, prefix=prefix)
        outputs.append(bucket.unpad(mixed_BLHd))
    whole = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return whole.flatten(1)


def attend_pooled(
    query_BHd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    *,
    layout: Layout,
    rule: AttentionRule,
    prefix: KeyValue | None,
) -> Tensor:
    """Return the attention output (B, H * d) of one token per sequence that attends to all of it, such as the last."""
    outputs, first = [], 0
    for bucket in layout.buckets:
        key, value = _joined(bucket.pad(key_TKd), bucket.pad(value_TKd), prefix)
        query_BHd_own = query_BHd[first : first + bucket.count]
        first += bucket.count
        bias = _pooled_mask(bucket, rule, prefix=layout.prefix, query=query_BHd_own)
        mixed = _product(query_BHd_own[:, None], key, value, bias=bias, rule=rule)
        outputs.append(mixed[:, 0])
    whole = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return whole.flatten(1)


def _attend_bucket(
    query_BLHd: Tensor,
    key_BLKd: Tensor,
    value_BLKd: Tensor,
    *,
    bucket: Bucket,
    rule: AttentionRule,
    prefix: KeyValue | None,
) -> Tensor:
    length = bucket.length
    if rule.bias is not None:
        bias = _biased_mask(bucket, rule.bias, query=query_BLHd)
        return _product(query_BLHd, key_BLKd, value_BLKd, bias=bias, rule=rule)
    fused = length < _flash_below(query_BLHd) or torch.is_grad_enabled() or query_BLHd.is_cuda
    if fused and prefix is None and rule.plain(length):
        mask = None if rule.causal or bucket.mask_BL is None else bucket.mask_BL[:, None, None]
        mixed_BHLd = functional.scaled_dot_product_attention(
            query_BLHd.transpose(1, 2),
            key_BLKd.transpose(1, 2),
            value_BLKd.transpose(1, 2),
            attn_mask=mask,
            is_causal=rule.causal,
            scale=rule.scale,
            enable_gqa=query_BLHd.shape[2] != key_BLKd.shape[2],
        )
        return mixed_BHLd.transpose(1, 2)
    key, value = _joined(key_BLKd, value_BLKd, prefix)
    at_once = max(1, _SCORES // (query_BLHd.shape[2] * min(length, _BLOCK) * key.shape[1]))
    parts = [
        _blocked(
            query_BLHd[start : start + at_once],
            key[start : start + at_once],
            value[start : start + at_once],
            seen_BL=None if bucket.mask_BL is None else bucket.mask_BL[start : start + at_once],
            rule=rule,
        )
        for start in range(0, bucket.count, at_once)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _flash_below(query: Tensor) -> int:
    """Return the length from which CPUs use blocked products instead of the fused kernel.

    Limits of 40, 100 and 200 are within 5 % of each other (docs/experiments/encoder-speed.md).
    """
    return 100 if query.dtype == torch.bfloat16 else 200


def _joined(key_BLKd: Tensor, value_BLKd: Tensor, prefix: KeyValue | None) -> tuple[Tensor, Tensor]:
    if prefix is None:
        return key_BLKd, value_BLKd
    shape = (len(key_BLKd), *prefix.key_PKd.shape)
    keys = torch.cat([prefix.key_PKd.expand(shape), key_BLKd], dim=1)
    return keys, torch.cat([prefix.value_PKd.expand(shape), value_BLKd], dim=1)


def _blocked(
    query_BLHd: Tensor, key_BSKd: Tensor, value_BSKd: Tensor, *, seen_BL: Tensor | None, rule: AttentionRule
) -> Tensor:
    """Multiply in blocks of query rows; scores above the diagonal or beyond the window are never computed."""
    count, length, heads, width = query_BLHd.shape
    sources, shared = key_BSKd.shape[1], key_BSKd.shape[2]
    group, before = heads // shared, sources - length
    query = (query_BLHd * rule.scale).view(count, length, shared, group, width).permute(0, 2, 3, 1, 4)
    key = key_BSKd.permute(0, 2, 3, 1).reshape(count * shared, width, sources)
    value = value_BSKd.permute(0, 2, 1, 3).reshape(count * shared, sources, width)
    mixed = torch.empty(count, length, shared, group, width, dtype=query_BLHd.dtype, device=query_BLHd.device)
    for start in range(0, length, _BLOCK):
        stop = min(length, start + _BLOCK)
        rows = stop - start
        first, last = _visible_range(rule, before + start, before + stop, sources)
        flat = query[:, :, :, start:stop].reshape(count * shared, group * rows, width)
        scores = torch.bmm(flat, key[:, :, first:last]).view(count, shared, group, rows, last - first)
        if rule.softcap is not None:
            scores = torch.tanh(scores / rule.softcap) * rule.softcap
        _mask_block(scores, seen_BL, rule, row=before + start, column=first)
        weights = torch.softmax(scores, dim=-1).view(count * shared, group * rows, last - first)
        block = torch.bmm(weights, value[:, first:last]).view(count, shared, group, rows, width)
        mixed[:, start:stop] = block.permute(0, 3, 1, 2, 4)
    return mixed.flatten(2, 3)


def _visible_range(rule: AttentionRule, start: int, stop: int, sources: int) -> tuple[int, int]:
    """Return the range of keys that the rows from start to stop attend to."""
    first = 0 if rule.window is None else max(0, start - rule.window + 1)
    if rule.causal:
        return first, stop
    return first, sources if rule.window is None else min(sources, stop - 1 + rule.window)


def _mask_block(scores: Tensor, seen_BL: Tensor | None, rule: AttentionRule, *, row: int, column: int) -> None:
    """Mask, in place, the keys from `column` on that the rows from `row` on do not attend to."""
    rows, seen = scores.shape[-2:]
    if rule.causal and rule.window is None:
        scores[..., -rows:] += _triangle(rows, scores)
        return
    hidden = torch.zeros(1, 1, 1, 1, seen, dtype=torch.bool, device=scores.device)
    if rule.window is not None:
        ahead = torch.arange(column, column + seen, device=scores.device) - torch.arange(
            row, row + rows, device=scores.device
        ).unsqueeze(1)
        hidden = hidden | (ahead.abs() >= rule.window) | ((ahead > 0) & rule.causal)
    if not rule.causal and seen_BL is not None:
        hidden = hidden | ~seen_BL[:, None, None, None, column : column + seen]
    elif rule.window is None:
        return
    # The lowest finite number, not -inf: a padding row may be fully masked, and would make gradients NaN.
    scores.masked_fill_(hidden, torch.finfo(scores.dtype).min)


def _product(
    query_BLHd: Tensor, key_BSKd: Tensor, value_BSKd: Tensor, *, bias: Tensor | None, rule: AttentionRule
) -> Tensor:
    """Attend with an additive mask (B or 1, H or 1, L, S); general, and slower than the blocked product."""
    count, length, heads, width = query_BLHd.shape
    group = heads // key_BSKd.shape[2]
    key = key_BSKd.repeat_interleave(group, dim=2).permute(0, 2, 3, 1)
    value = value_BSKd.repeat_interleave(group, dim=2).transpose(1, 2)
    scores = (query_BLHd.transpose(1, 2) * rule.scale) @ key
    if rule.softcap is not None:
        scores = torch.tanh(scores / rule.softcap) * rule.softcap
    if bias is not None:
        scores = scores + bias
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query_BLHd.dtype)
    return (weights @ value).transpose(1, 2).reshape(count, length, heads, width)


def _biased_mask(bucket: Bucket, bias_of: Callable[[int], Tensor], *, query: Tensor) -> Tensor:
    """Return a rule's bias for a bucket with its padding masked, for bidirectional rules."""
    bias_1HLL = bias_of(bucket.length).to(query.dtype)[None]
    return bias_1HLL if bucket.mask_BL is None else bias_1HLL + _additive(bucket.mask_BL, query.dtype)[:, None, None]


def _pooled_mask(bucket: Bucket, rule: AttentionRule, *, prefix: int, query: Tensor) -> Tensor | None:
    column = torch.arange(prefix + bucket.length, device=query.device)
    end_B1 = (bucket.lengths_B + prefix)[:, None]
    allowed_BS = column < end_B1
    if rule.window is not None and rule.causal:
        allowed_BS = allowed_BS & (column > end_B1 - 1 - rule.window)
    elif bucket.mask_BL is None:
        return None
    return _additive(allowed_BS, query.dtype)[:, None, None]


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, float("-inf"))


def _triangle(rows: int, like: Tensor) -> Tensor:
    return torch.full((rows, rows), float("-inf"), dtype=like.dtype, device=like.device).triu_(1)


def _has_varlen(query: Tensor) -> bool:
    if not query.is_cuda or query.dtype not in {torch.float16, torch.bfloat16}:
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return varlen_attn is not None


def _varlen(
    query_THd: Tensor,
    key_TKd: Tensor,
    value_TKd: Tensor,
    *,
    layout: Layout,
    rule: AttentionRule,
    prefix: KeyValue | None,
) -> Tensor:
    """Run flash attention over the pack unpadded; causal aligns to the end, so that a prefix is allowed."""
    from torch.nn.attention.varlen import varlen_attn

    if prefix is not None:
        key_TKd = torch.cat([prefix.key_PKd, key_TKd])[layout.with_prefix]
        value_TKd = torch.cat([prefix.value_PKd, value_TKd])[layout.with_prefix]
    longest = int(layout.lengths.max())
    mixed = varlen_attn(
        query_THd,
        key_TKd,
        value_TKd,
        layout.cumulative_queries,
        layout.cumulative_keys,
        longest,
        longest + layout.prefix,
        scale=rule.scale,
        window_size=(-1, 0) if rule.causal else (-1, -1),
        enable_gqa=query_THd.shape[1] != key_TKd.shape[1],
    )
    if isinstance(mixed, tuple):
        mixed = mixed[0]
    return mixed.flatten(1)
