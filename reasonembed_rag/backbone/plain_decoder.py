"""Decoders as bare modules of torch, loaded from their files without transformers, whose import takes seconds.

They have the modules that read_blueprint reads, and no forward of their own. The self-check compares them with
transformers' before they are used alone.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from reasonembed_rag.backbone.decoder_shape import GEMMAS, read_shape
from reasonembed_rag.backbone.rotary import rotary_steps
from reasonembed_rag.backbone.tensors import weight_files
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from reasonembed_rag.backbone.decoder_shape import DecoderShape

__all__ = ["PLAIN", "PlainDecoder", "read_plain_decoder"]

PLAIN = ", bare modules"
"""Added to the device in the record of a self-check of these modules."""

_WRAPPER = "model."
"""Prefix of the backbone's weights in a checkpoint with a head."""


def read_plain_decoder(
    folder: Path, config: Mapping[str, Any], *, dtype: torch.dtype, device: torch.device
) -> PlainDecoder:
    """Load the weights of a folder in one number format; raises ModelError for missing weights and other shapes."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            loaded = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path}: damaged ({error}); copy or download it again") from error
        tensors |= {name.removeprefix(_WRAPPER): one.to(device, dtype) for name, one in loaded.items()}
    return PlainDecoder.around(config, tensors, folder=folder)


class PlainDecoder(nn.Module):
    """The modules of a Llama, Mistral, Qwen2, Qwen3 or Gemma model; raises ModelError for a config of another one."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        shape = read_shape(config)
        if shape is None:
            raise ModelError(f"{config.get('model_type')!r} has no bare modules here; want transformers' own")
        width = config["hidden_size"]
        self.config = SimpleNamespace(**{**config, "layer_types": shape.layer_types}, to_dict=lambda: dict(config))
        embedding = _ScaledEmbedding if shape.kind in GEMMAS else _Embedding
        self.embed_tokens = embedding(config["vocab_size"], width)
        self.layers = nn.ModuleList(_Layer(config, shape, number) for number in range(config["num_hidden_layers"]))
        self.norm = _norm_of(shape, width, config)
        self.rotary_emb = _Rotary(shape) if "" in shape.rotary else _RotaryByType(shape)

    @classmethod
    def around(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, folder: Path) -> PlainDecoder:
        """Build the modules around these tensors, which are shared; raises ModelError for missing and other ones."""
        with torch.device("meta"):
            decoder = cls(config)
        wanted = dict(decoder.named_parameters())
        for name, parameter in wanted.items():
            found = tensors.get(name)
            if found is None or found.shape != parameter.shape:
                got = "missing" if found is None else tuple(found.shape)
                raise ModelError(f"{folder}: {name} is {got}, config.json wants {tuple(parameter.shape)}")
        decoder.load_state_dict({name: tensors[name] for name in wanted}, assign=True)
        decoder.requires_grad_(requires_grad=False)
        return decoder.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the weights."""
        return self.embed_tokens.weight.dtype

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the embedding of tokens, under transformers' name for it."""
        return self.embed_tokens


class _Linear(nn.Linear):
    """Not initialised: on the meta device torch would import its compiler for that, which takes longer than itself."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class _Embedding(nn.Embedding):
    """Not initialised, as _Linear."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class _ScaledEmbedding(_Embedding):
    """Gemma's: multiplied by the square root of the width, in the number format of the weights."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids) * torch.tensor(self.embedding_dim**0.5).to(self.weight)


class _Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.variance_epsilon = epsilon


class _GemmaNorm(_Norm):
    """Known by its name: Gemma's norms multiply by 1 + weight."""


def _norm_of(shape: DecoderShape, width: int, config: Mapping[str, Any]) -> _Norm:
    return (_GemmaNorm if shape.kind in GEMMAS else _Norm)(width, config["rms_norm_eps"])


class _Rotary(nn.Module):
    """Cosines and sines of rotary positions, computed when they are asked for."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self._width, self._given = shape.head_width, shape.rotary
        self.rope_type = {name: one["rope_type"] for name, one in shape.rotary.items()}

    def forward(self, like: Tensor, positions: Tensor, layer_type: str = "") -> tuple[Tensor, Tensor]:
        """Return cosines and sines (1, L, width)."""
        steps = rotary_steps(self._given[layer_type], width=self._width, device=like.device)
        angles = positions[..., None].float() * steps.angles
        both = torch.cat((angles, angles), dim=-1)
        return (both.cos() * steps.factor).to(like.dtype), (both.sin() * steps.factor).to(like.dtype)


class _RotaryByType(_Rotary):
    """Known by its layer_types: forward is given one of them."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__(shape)
        self.layer_types = tuple(shape.rotary)


class _Attention(nn.Module):
    def __init__(self, config: Mapping[str, Any], shape: DecoderShape, number: int) -> None:
        super().__init__()
        kind, width = shape.kind, config["hidden_size"]
        self.head_dim, self.scaling = shape.head_width, shape.scale
        self.sliding_window, self.attn_logit_softcapping = shape.window_of(number), shape.softcap
        queries, keys = (config[f"num_{of}_heads"] * shape.head_width for of in ("attention", "key_value"))
        every = bool(config.get("attention_bias")) and kind in {"llama", "qwen3", *GEMMAS}
        self.q_proj = _Linear(width, queries, bias=every or kind == "qwen2")
        self.k_proj = _Linear(width, keys, bias=every or kind == "qwen2")
        self.v_proj = _Linear(width, keys, bias=every or kind == "qwen2")
        self.o_proj = _Linear(queries, width, bias=every)
        if kind in {"qwen3", "gemma3_text"}:
            self.q_norm = _norm_of(shape, shape.head_width, config)
            self.k_norm = _norm_of(shape, shape.head_width, config)


class GELUTanh(nn.Module):
    """Known by its name, as transformers' activation of this kind is."""


class _Mlp(nn.Module):
    def __init__(self, config: Mapping[str, Any], shape: DecoderShape) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        bias = bool(config.get("mlp_bias")) and shape.kind == "llama"
        self.gate_proj = _Linear(width, inner, bias=bias)
        self.up_proj = _Linear(width, inner, bias=bias)
        self.down_proj = _Linear(inner, width, bias=bias)
        self.act_fn = GELUTanh() if shape.kind in GEMMAS else nn.SiLU()


class _Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any], shape: DecoderShape, number: int) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.self_attn = _Attention(config, shape, number)
        self.mlp = _Mlp(config, shape)
        self.input_layernorm = _norm_of(shape, width, config)
        self.post_attention_layernorm = _norm_of(shape, width, config)
        if shape.kind in {"gemma2", "gemma3_text"}:
            self.pre_feedforward_layernorm = _norm_of(shape, width, config)
            self.post_feedforward_layernorm = _norm_of(shape, width, config)
