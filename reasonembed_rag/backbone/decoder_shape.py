"""What config.json says of a decoder whose layers this project runs itself, in transformers' meaning of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasonembed_rag.backbone.kinds import OWN_DECODERS
from reasonembed_rag.backbone.rotary import knows_rotary

__all__ = ["GEMMAS", "DecoderShape", "read_shape"]

GEMMAS = frozenset({"gemma", "gemma2", "gemma3_text"})
_BY_KIND = "gemma3_text"
"""The architecture with other rotary angles in local layers than in global ones."""
_GLOBAL, _LOCAL = "full_attention", "sliding_attention"
_SIZES = (
    "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "vocab_size",
)  # fmt: skip
_HEAD_WIDTHS = {**dict.fromkeys(GEMMAS, 256), "qwen3": 128}
"""Of architectures whose heads are not the width divided among them where config.json does not say."""
_TANH = {"gelu_pytorch_tanh", "gelu_tanh"}
_ORIGINAL = "original_max_position_embeddings"


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """A decoder's sizes, attention and rotary positions."""

    kind: str
    head_width: int
    scale: float
    """What scores of attention are multiplied by."""
    softcap: float | None
    layer_types: tuple[str, ...]
    window: int | None
    """How many tokens layers of local attention reach, their own included."""
    rotary: Mapping[str, Mapping[str, Any]]
    """rope_parameters by the type of layer, or of all layers under ""."""

    def window_of(self, layer: int) -> int | None:
        """Return the window of one layer; None for global attention."""
        return self.window if self.layer_types[layer] == _LOCAL else None


def read_shape(config: Mapping[str, Any]) -> DecoderShape | None:
    """Return the shape; None for a config that says less than the modules need, or more than they know."""
    try:
        return _shape(config)
    except (TypeError, ValueError, ArithmeticError):  # a value of another kind: transformers judges it
        return None


def _shape(config: Mapping[str, Any]) -> DecoderShape | None:
    kind = config.get("model_type")
    if (
        kind not in OWN_DECODERS
        or not all(type(config.get(name)) is int and config[name] > 0 for name in _SIZES)
        or not all(isinstance(config.get(name) or {}, dict) for name in ("rope_parameters", "rope_scaling"))
    ):
        return None
    types, window = _layers(kind, config)
    rotary = _rotary(kind, config)
    if (
        len(types) != config["num_hidden_layers"]
        or set(types) - {_GLOBAL, _LOCAL}
        or (_LOCAL in types and not isinstance(window, int))
        or not isinstance(config.get("rms_norm_eps"), float)
        or not _activation_fits(kind, config)
        or (kind in {"gemma", "gemma2"} and config.get("use_bidirectional_attention"))
        or "partial_rotary_factor" in config
        or not all(knows_rotary(parameters) for parameters in rotary.values())
    ):
        return None
    default_width = _HEAD_WIDTHS.get(kind, config["hidden_size"] // config["num_attention_heads"])
    width = int(config.get("head_dim") or default_width)
    if width < 1:
        return None
    capped = kind in {"gemma2", _BY_KIND}
    return DecoderShape(
        kind=kind,
        head_width=width,
        scale=float(config.get("query_pre_attn_scalar", 256) if capped else width) ** -0.5,
        softcap=config.get("attn_logit_softcapping", 50.0 if kind == "gemma2" else None) if capped else None,
        layer_types=types,
        window=window,
        rotary=rotary,
    )


def _activation_fits(kind: str, config: Mapping[str, Any]) -> bool:
    if kind == "gemma":  # the releases say gelu and mean its approximation
        return config.get("hidden_act") in {"gelu", *_TANH}
    if kind in GEMMAS:
        return config.get("hidden_activation", "gelu_pytorch_tanh") in _TANH
    return config.get("hidden_act") == "silu"


def _layers(kind: str, config: Mapping[str, Any]) -> tuple[tuple[str, ...], int | None]:
    """Return the type of each layer's attention, and the window of the local ones."""
    numbers = range(config["num_hidden_layers"])
    window = config.get("sliding_window", None if kind in {"llama", "gemma"} else 4096)
    given = tuple(config.get("layer_types") or ())
    if kind in {"llama", "gemma"}:
        return given or (_GLOBAL,) * len(numbers), None
    if kind == "mistral":  # its class looks at nothing else
        return (_LOCAL if window else _GLOBAL,) * len(numbers), window
    if kind in {"qwen2", "qwen3"}:
        if not config.get("use_sliding_window"):
            return given or (_GLOBAL,) * len(numbers), None
        first = config.get("max_window_layers", 28)
        return given or tuple(_LOCAL if number >= first else _GLOBAL for number in numbers), window
    if kind == _BY_KIND and config.get("use_bidirectional_attention") and isinstance(window, int):
        window = window // 2 + 1
    every = 2 if kind == "gemma2" else config.get("sliding_window_pattern", 6)
    return given or tuple(_LOCAL if (number + 1) % every else _GLOBAL for number in numbers), window


def _rotary(kind: str, config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return complete rope_parameters from the places where files of all versions keep them."""
    scaled, given = config.get("rope_scaling") or {}, config.get("rope_parameters") or {}
    if kind != _BY_KIND:
        theta = config.get("rope_theta", 10_000.0 if kind in GEMMAS else None)
        return {"": _complete({"rope_theta": theta, **(scaled or given)}, config)}
    bases = {_GLOBAL: config.get("rope_theta", 1e6), _LOCAL: config.get("rope_local_base_freq", 1e4)}
    changed = {_GLOBAL: scaled, _LOCAL: {}}
    return {
        name: _complete({"rope_theta": base, **(given.get(name) or {}), **changed[name]}, config)
        for name, base in bases.items()
    }


def _complete(parameters: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    longest = config.get(_ORIGINAL) or parameters.get(_ORIGINAL) or config.get("max_position_embeddings")
    return {
        **parameters,
        "rope_type": parameters.get("rope_type", parameters.get("type", "default")),
        _ORIGINAL: longest,
    }
