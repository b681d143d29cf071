"""What the model_type of a config says: encoder or decoder, direction of attention, names of sizes."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENCODERS", "OWN_DECODERS", "is_decoder", "is_natively_bidirectional", "native_type", "size_in"]

ENCODERS = frozenset(
    {"albert", "bert", "camembert", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta"}
)
OWN_DECODERS = frozenset({"gemma", "gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3"})
"""With ENCODERS the kinds that are known here; transformers is asked about all others."""
_BIDIRECTIONAL = ("_bidirec", "_bidirectional")
"""Suffixes of model_type for decoders with bidirectional attention in custom code (NVIDIA's llama_bidirec)."""
_OTHER_NAMES = {("distilbert", "hidden_size"): "dim"}
"""Names of sizes in configs of the known kinds, where they are not the common ones."""


def native_type(config: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the architecture of a config in transformers, and whether its name marks bidirectional attention."""
    name = str(config.get("model_type", ""))
    for ending in _BIDIRECTIONAL:
        if name.endswith(ending):
            return name.removesuffix(ending), True
    return name, False


def is_decoder(config: Mapping[str, Any]) -> bool:
    """Return whether a config is a decoder's: transformers has it as a causal and not as a masked language model."""
    kind = native_type(config)[0]
    if kind in ENCODERS or kind in OWN_DECODERS:
        return kind in OWN_DECODERS
    _check_transformers(kind)
    from transformers.models.auto import modeling_auto

    causal, masked = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return kind in causal and kind not in masked


def is_natively_bidirectional(config: Mapping[str, Any]) -> bool:
    """Return whether transformers runs a decoder of this config with bidirectional attention by default."""
    return config.get("is_causal") is False or (
        native_type(config)[0] == "gemma3_text" and bool(config.get("use_bidirectional_attention"))
    )


def size_in(config: Mapping[str, Any], name: str, *, default: int | None = None) -> int:
    """Return a size of a config by transformers' common name for it; architectures may use other names."""
    kind = native_type(config)[0]
    value = config.get(name)
    if value is None:
        value = config.get(_own_name(kind, name), default)
    if not isinstance(value, int):
        raise ModelError(f"config.json has no {name} (model_type {kind!r}); want a text encoder or decoder")
    return value


def _own_name(kind: str, name: str) -> str:
    if kind in ENCODERS or kind in OWN_DECODERS or find_spec("transformers") is None:
        return _OTHER_NAMES.get((kind, name), name)
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return str(CONFIG_MAPPING[kind].attribute_map.get(name, name)) if kind in CONFIG_MAPPING else name


def _check_transformers(kind: str) -> None:
    if find_spec("transformers") is None:
        raise MissingDependencyError(f"transformers, which knows the model_type {kind!r},", "torch")
