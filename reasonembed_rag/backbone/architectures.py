"""Read a transformers backbone into a Blueprint by its modules, not by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from reasonembed_rag.backbone.attention import AttentionRule
from reasonembed_rag.backbone.kinds import is_natively_bidirectional
from reasonembed_rag.backbone.linears import SlicedLinear
from reasonembed_rag.backbone.packed import Blueprint, FusedGatedMlp, GatedMlp, Heads, Layer, PlainMlp
from reasonembed_rag.backbone.segments import read_segments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor
    from torch.nn import Module

    from reasonembed_rag.backbone.linears import Linear

    Make = Callable[[Sequence[Module]], Linear]

__all__ = ["UnsupportedError", "read_blueprint"]

_ACTIVATIONS = {
    "SiLUActivation": "silu",
    "SiLU": "silu",
    "GELUActivation": "gelu",
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "PytorchGELUTanh": "gelu_tanh",
    "ReLU": "relu",
}
_FIXED_ROTARY = {"default", "linear", "llama3", "yarn"}
"""Kinds of rotary embedding whose angles do not depend on the length of the text."""


class UnsupportedError(Exception):
    """A backbone that the packed forward cannot run, with the reason; callers use the padded forward instead."""


def read_blueprint(backbone: Module, *, causal: bool, make: Make, segments: bool = False) -> Blueprint:
    """Return a backbone's blueprint with linears built by `make`; with segments its ids hold token types.

    Raises UnsupportedError for an unknown backbone.
    """
    try:
        if hasattr(backbone, "embed_tokens") and hasattr(backbone, "layers"):
            return _decoder(backbone, causal=causal, make=make)
        if hasattr(getattr(backbone, "embeddings", None), "tok_embeddings"):
            return _modern_bert(backbone, make=make)
        if hasattr(getattr(backbone, "embeddings", None), "word_embeddings"):
            return _bert(backbone, make=make, segments=segments)
    except AttributeError as error:
        raise UnsupportedError(
            f"{type(backbone).__name__} lacks a part that the packed forward needs: {error}"
        ) from error
    raise UnsupportedError(f"{type(backbone).__name__} is neither a known decoder nor a known encoder")


def _decoder(backbone: Any, *, causal: bool, make: Make) -> Blueprint:
    """Read Llama, Mistral, Qwen2, Qwen3 and Gemma 1 to 3: one shape with optional norms, biases and windows."""
    config = backbone.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * len(backbone.layers)
    by_kind = hasattr(backbone.rotary_emb, "layer_types")
    layers = []
    for module, kind in zip(backbone.layers, kinds, strict=True):
        attention, mlp = module.self_attn, module.mlp
        width = attention.head_dim
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        gemma = hasattr(module, "pre_feedforward_layernorm")
        rule = AttentionRule(
            causal=causal,
            scale=attention.scaling,
            window=_window(attention, config, kind, causal=causal),
            softcap=getattr(attention, "attn_logit_softcapping", None),
        )
        layers.append(
            Layer(
                heads=Heads(q.out_features // width, k.out_features // width, width),
                rule=rule,
                rotary=kind if by_kind else "all",
                qkv=make([q, k, v]),
                query=make([q]),
                key_value=make([k, v]),
                out=make([attention.o_proj]),
                mlp=GatedMlp(
                    make([mlp.gate_proj]), make([mlp.up_proj]), make([mlp.down_proj]), _activation(mlp.act_fn)
                ),
                query_norm=_rms(getattr(attention, "q_norm", None)),
                key_norm=_rms(getattr(attention, "k_norm", None)),
                before_attention=_rms(module.input_layernorm),
                after_attention=_rms(module.post_attention_layernorm) if gemma else None,
                before_mlp=_rms(module.pre_feedforward_layernorm if gemma else module.post_attention_layernorm),
                after_mlp=_rms(module.post_feedforward_layernorm) if gemma else None,
            )
        )
    return Blueprint(
        embed=lambda ids, _: backbone.embed_tokens(ids),
        layers=layers,
        final_norm=_rms(backbone.norm),
        rotary_table=_rotary_table(backbone, by_kind=by_kind),
        device=backbone.device,
        dtype=backbone.dtype,
    )


def _window(attention: Any, config: Any, kind: str, *, causal: bool) -> int | None:
    """Return the attention window (exclusive distance); for bidirectional attention as in transformers' masks."""
    if not causal and not is_natively_bidirectional(config.to_dict()):
        return None  # our bidirectional mask has no windows
    if hasattr(attention, "sliding_window"):
        own = attention.sliding_window
    elif kind == "sliding_attention" or not hasattr(config, "layer_types"):
        own = getattr(config, "sliding_window", None)
    else:
        own = None
    inclusive = not causal and getattr(config, "is_causal", True) is False
    return int(own) + inclusive if own else None


def _bert(backbone: Any, *, make: Make, segments: bool) -> Blueprint:
    """Read BERT, RoBERTa, XLM-R and MPNet: norms after attention and after the MLP."""
    if getattr(backbone.config, "is_decoder", False):
        raise UnsupportedError("a BERT configured as a decoder")
    if getattr(backbone.config, "position_embedding_type", None) not in {None, "absolute"}:
        raise UnsupportedError("relative positions")
    layers = [_bert_layer(module, make, bias=_relative_bias(backbone)) for module in backbone.encoder.layer]
    embeddings = backbone.embeddings
    first = 0 if embeddings.position_embeddings.padding_idx is None else embeddings.position_embeddings.padding_idx + 1

    def embed(ids: Tensor, positions: Tensor) -> Tensor:
        types: Tensor | int = 0
        if segments:
            ids, types = read_segments(ids)
        state = embeddings.word_embeddings(ids) + embeddings.position_embeddings(positions + first)
        if hasattr(embeddings, "token_type_embeddings"):
            state = state + embeddings.token_type_embeddings.weight[types]
        normed: Tensor = embeddings.dropout(embeddings.LayerNorm(state))
        return normed

    return Blueprint(
        embed=embed, layers=layers, final_norm=None, rotary_table=None, device=backbone.device, dtype=backbone.dtype
    )


def _bert_layer(module: Any, make: Make, *, bias: Callable[[int], Tensor] | None) -> Layer:
    attention = module.attention
    if hasattr(attention, "attn"):  # MPNet
        own, out, norm = attention.attn, attention.attn.o, attention.LayerNorm
        q, k, v = own.q, own.k, own.v
    else:
        own, out, norm = attention.self, attention.output.dense, attention.output.LayerNorm
        q, k, v = own.query, own.key, own.value
    heads, width = own.num_attention_heads, own.attention_head_size
    activation = _activation(module.intermediate.intermediate_act_fn)
    return Layer(
        heads=Heads(heads, heads, width),
        rule=AttentionRule(causal=False, scale=width**-0.5, bias=bias),
        rotary=None,
        qkv=make([q, k, v]),
        query=make([q]),
        key_value=make([k, v]),
        out=make([out]),
        mlp=PlainMlp(make([module.intermediate.dense]), make([module.output.dense]), activation),
        after_attention=_layer_norm(norm),
        after_mlp=_layer_norm(module.output.LayerNorm),
        norm_of_sum=True,
    )


def _relative_bias(backbone: Any) -> Callable[[int], Tensor] | None:
    encoder = backbone.encoder
    if not hasattr(encoder, "relative_attention_bias"):
        return None

    def bias(length: int) -> Tensor:
        position = torch.arange(length, device=backbone.device)
        buckets = encoder.relative_position_bucket(position[None] - position[:, None], num_buckets=32)
        values_HLL: Tensor = encoder.relative_attention_bias(buckets).permute(2, 0, 1)
        return values_HLL

    return bias


def _modern_bert(backbone: Any, *, make: Make) -> Blueprint:
    """Read ModernBERT: norms before attention and MLP, local and global layers, rotary, bidirectional."""
    config = backbone.config
    width = config.hidden_size // config.num_attention_heads
    layers = []
    for module in backbone.layers:
        attention, mlp = module.attn, module.mlp
        window = attention.sliding_window
        qkv = attention.Wqkv
        layers.append(
            Layer(
                heads=Heads(config.num_attention_heads, config.num_attention_heads, width),
                rule=AttentionRule(causal=False, scale=width**-0.5, window=int(window) if window else None),
                rotary=module.attention_type,
                qkv=make([qkv]),
                query=make([_slice_of(qkv, 0, config.hidden_size)]),
                key_value=make([_slice_of(qkv, config.hidden_size, 3 * config.hidden_size)]),
                out=make([attention.Wo]),
                mlp=FusedGatedMlp(make([mlp.Wi]), make([mlp.Wo]), _activation(mlp.act)),
                before_attention=None
                if isinstance(module.attn_norm, torch.nn.Identity)
                else _layer_norm(module.attn_norm),
                before_mlp=_layer_norm(module.mlp_norm),
            )
        )
    return Blueprint(
        embed=lambda ids, _: backbone.embeddings(input_ids=ids),
        layers=layers,
        final_norm=_layer_norm(backbone.final_norm),
        rotary_table=_rotary_table(backbone, by_kind=True),
        device=backbone.device,
        dtype=backbone.dtype,
    )


def _slice_of(module: Any, start: int, stop: int) -> Module:
    """Return some outputs of a linear module as a module with shared weights."""
    if not isinstance(module, torch.nn.Linear):
        raise UnsupportedError("a wrapped linear of queries, keys and values")
    return SlicedLinear(module, start, stop)


def _rotary_table(backbone: Any, *, by_kind: bool) -> Callable[[str, int], tuple[Tensor, Tensor]]:
    rotary = backbone.rotary_emb
    kinds = rotary.rope_type.values() if isinstance(rotary.rope_type, dict) else [rotary.rope_type]
    varying = set(kinds) - _FIXED_ROTARY
    if varying:
        raise UnsupportedError(f"rotary positions of kind {', '.join(sorted(varying))}")

    def table(key: str, length: int) -> tuple[Tensor, Tensor]:
        like = torch.zeros(1, dtype=torch.float32, device=backbone.device)
        positions = torch.arange(length, device=backbone.device)[None]
        cos, sin = rotary(like, positions, key) if by_kind else rotary(like, positions)
        return cos[0], sin[0]

    return table


def _activation(module: Any) -> str:
    name = type(module).__name__
    if name not in _ACTIVATIONS:
        raise UnsupportedError(f"activation {name}")
    return _ACTIVATIONS[name]


def _rms(module: Any) -> Callable[[Tensor], Tensor] | None:
    """Return an RMS norm, summed in float32; Gemma's multiplies by 1 + weight."""
    if module is None:
        return None
    epsilon = module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps
    if "Gemma" in type(module).__name__:
        return lambda x: functional.rms_norm(x.float(), x.shape[-1:], 1.0 + module.weight.float(), epsilon).to(x.dtype)
    return lambda x: functional.rms_norm(x, x.shape[-1:], module.weight, epsilon)


def _layer_norm(module: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.layer_norm(x, x.shape[-1:], module.weight, module.bias, module.eps)
