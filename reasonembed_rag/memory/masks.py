"""Attention of texts behind memories, and of continuations that see their text only through its latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from reasonembed_rag.backbone import KeyValue, attend

if TYPE_CHECKING:
    from torch import Tensor

    from reasonembed_rag.backbone import AttentionRule, Bucket, Layout

__all__ = ["Sight", "attend_latents", "attend_seen", "rotated"]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What the tokens of a pack see beyond causal attention within their sequence."""

    layout: Layout
    """The sequences; its prefix is the number of tokens before each."""
    hidden_T: Tensor | None = None
    """True for tokens of texts that continuations do not see."""
    blind_T: Tensor | None = None
    """True for tokens of continuations."""

    @property
    def is_plain(self) -> bool:
        """Whether attention is causal and nothing else."""
        return self.layout.prefix == 0 and self.hidden_T is None


def attend_seen(
    query_THd: Tensor, own_TKd: KeyValue, *, sight: Sight, rule: AttentionRule, past_BPKd: KeyValue | None
) -> Tensor:
    """Return the attention output (T, H * d); past holds each sequence's keys, rotated, and values before it."""
    if sight.is_plain:
        return attend(query_THd, *own_TKd, layout=sight.layout, rule=rule, prefix=None)
    outputs, first = [], 0
    for bucket in sight.layout.buckets:
        key, value = (bucket.pad(x) for x in own_TKd)
        if past_BPKd is not None:
            before = slice(first, first + bucket.count)
            key = torch.cat([past_BPKd[0][before], key], dim=1)
            value = torch.cat([past_BPKd[1][before], value], dim=1)
        first += bucket.count
        seen_BLS = _seen(bucket, sight, window=rule.window)
        outputs.append(bucket.unpad(_masked(bucket.pad(query_THd), key, value, seen_BLS, rule)))
    return torch.cat(outputs).flatten(1)


def attend_latents(
    query_RHd: Tensor, own_TKd: KeyValue, *, layout: Layout, rule: AttentionRule, latents: int
) -> Tensor:
    """Return the attention output (R, H * d) of the last `latents` tokens of each sequence of a plain pack alone."""
    outputs, first = [], 0
    for bucket in layout.buckets:
        key, value = (bucket.pad(x) for x in own_TKd)
        query = query_RHd[first : first + bucket.count * latents].unflatten(0, (bucket.count, latents))
        first += bucket.count * latents
        column = torch.arange(bucket.length, device=query.device)
        place_Bk1 = (bucket.lengths_B[:, None] - latents + torch.arange(latents, device=query.device))[..., None]
        seen_BkS = column <= place_Bk1
        if rule.window is not None:
            seen_BkS &= column > place_Bk1 - rule.window
        outputs.append(_masked(query, key, value, seen_BkS, rule).flatten(0, 1))
    return torch.cat(outputs).flatten(1)


def rotated(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Rotate keys or queries (..., d); of the sines the first half is negated, so that rolling replaces rotate-half."""
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * signed_sin


def _seen(bucket: Bucket, sight: Sight, *, window: int | None) -> Tensor | None:
    """Return which columns (B or 1, L, P + L) each row sees; None for all. Padding stands behind and is unseen."""
    prefix, length = sight.layout.prefix, bucket.length
    if length == 1 and (window is None or prefix < window):
        return None
    device = sight.layout.device
    row_L1 = prefix + torch.arange(length, device=device)[:, None]
    column_S = torch.arange(prefix + length, device=device)
    seen_BLS = (column_S <= row_L1)[None]
    if window is not None:
        seen_BLS = seen_BLS & (column_S > row_L1 - window)
    if sight.hidden_T is not None and sight.blind_T is not None:
        hidden_BL, blind_BL = bucket.pad(sight.hidden_T), bucket.pad(sight.blind_T)
        barred_BLL = blind_BL[:, :, None] & hidden_BL[:, None]
        seen_BLS = seen_BLS & ~functional.pad(barred_BLL, (prefix, 0))
    return seen_BLS


def _masked(
    query_BLHd: Tensor, key_BSKd: Tensor, value_BSKd: Tensor, seen_BLS: Tensor | None, rule: AttentionRule
) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in (query_BLHd, key_BSKd, value_BSKd))
    mask = None if seen_BLS is None else seen_BLS[:, None]
    shared = query.shape[1] != key.shape[1]
    if rule.softcap is None:
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=rule.scale, enable_gqa=shared
        )
        return mixed.transpose(1, 2)
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, dim=1), value.repeat_interleave(group, dim=1)
    scores = torch.tanh((query * rule.scale) @ key.transpose(2, 3) / rule.softcap) * rule.softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2)
