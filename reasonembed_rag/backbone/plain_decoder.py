"""Decoders as bare modules of torch, loaded from their files without transformers, whose import takes seconds.

They have the modules that read_blueprint reads, and no forward of their own. The self-check compares them with
transformers' before they are used alone.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from reasonembed_rag.backbone.tensors import weight_files
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = ["PLAIN", "PlainDecoder", "fits_plain_decoder", "read_plain_decoder"]

PLAIN = ", bare modules"
"""Added to the device in the record of a self-check of these modules."""

_KINDS = ("llama", "mistral", "qwen2", "qwen3")
_SIZES = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "vocab_size",
)  # fmt: skip
_WRAPPER = "model."
"""Prefix of the backbone's weights in a checkpoint with a head."""


def fits_plain_decoder(config: Mapping[str, Any]) -> bool:
    """Return whether a config.json says all that bare modules need: no windows, and rotary angles of the usual kind."""
    kind = config.get("model_type")
    windows = config.get("use_sliding_window") or (kind == "mistral" and config.get("sliding_window"))
    local = set(config.get("layer_types") or ()) - {"full_attention"}
    return bool(
        kind in _KINDS
        and all(isinstance(config.get(name), int) for name in _SIZES)
        and not windows
        and not local
        and config.get("hidden_act") == "silu"
        and isinstance(config.get("rms_norm_eps"), float)
        and _theta(config) is not None
    )


def _theta(config: Mapping[str, Any]) -> float | None:
    """Return the base of the rotary angles; None for angles of another kind."""
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rotary.get("rope_type", rotary.get("type", "default")) != "default" or "partial_rotary_factor" in config:
        return None
    theta = rotary.get("rope_theta", config.get("rope_theta"))
    return float(theta) if isinstance(theta, int | float) else None


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
    """The modules of a Llama, Mistral, Qwen2 or Qwen3 model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.config = SimpleNamespace(**config, to_dict=lambda: dict(config))
        self.embed_tokens = nn.Embedding(config["vocab_size"], width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = _Norm(width, config["rms_norm_eps"])
        self.rotary_emb = _Rotary(_head_width(config), _theta(config) or 0.0)

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


def _head_width(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


class _Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.variance_epsilon = epsilon


class _Rotary(nn.Module):
    """Rotary angles, computed from their base when they are asked for."""

    rope_type = "default"

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        self._width, self._theta = width, theta

    def forward(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines (1, L, width)."""
        exponents = torch.arange(0, self._width, 2, dtype=torch.float32, device=like.device) / self._width
        angles = positions[..., None].float() * (1.0 / self._theta**exponents)
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(like.dtype), both.sin().to(like.dtype)


class _Attention(nn.Module):
    sliding_window = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        kind, width = config["model_type"], config["hidden_size"]
        self.head_dim = _head_width(config)
        self.scaling = self.head_dim**-0.5
        queries, keys = config["num_attention_heads"] * self.head_dim, config["num_key_value_heads"] * self.head_dim
        every = bool(config.get("attention_bias")) and kind in {"llama", "qwen3"}
        self.q_proj = nn.Linear(width, queries, bias=every or kind == "qwen2")
        self.k_proj = nn.Linear(width, keys, bias=every or kind == "qwen2")
        self.v_proj = nn.Linear(width, keys, bias=every or kind == "qwen2")
        self.o_proj = nn.Linear(queries, width, bias=every)
        if kind == "qwen3":
            self.q_norm = _Norm(self.head_dim, config["rms_norm_eps"])
            self.k_norm = _Norm(self.head_dim, config["rms_norm_eps"])


class _Mlp(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        bias = bool(config.get("mlp_bias")) and config["model_type"] == "llama"
        self.gate_proj = nn.Linear(width, inner, bias=bias)
        self.up_proj = nn.Linear(width, inner, bias=bias)
        self.down_proj = nn.Linear(inner, width, bias=bias)
        self.act_fn = nn.SiLU()


class _Layer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.mlp = _Mlp(config)
        self.input_layernorm = _Norm(config["hidden_size"], config["rms_norm_eps"])
        self.post_attention_layernorm = _Norm(config["hidden_size"], config["rms_norm_eps"])
