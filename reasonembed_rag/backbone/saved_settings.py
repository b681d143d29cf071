"""Check what sentence-transformers saves beside a model: each setting is read, or refused, or told to be left out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["check_modules", "check_saved_settings", "check_transformer_settings", "saved_length"]

_logger = logging.getLogger(__name__)

_MODULES = ("Transformer", "Pooling", "Normalize")
_PACKAGE = "sentence_transformers."
_HARMLESS = {"add_pooling_layer", "attn_implementation", "dtype", "padding_side", "torch_dtype", "trust_remote_code"}
"""Arguments that change no vector, or that settings of ours have instead."""
_READ = {"max_seq_length", "do_lower_case", "query_length", "document_length", "unpad_inputs"}


def check_modules(modules: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Raise ModelError unless the modules are a Transformer, then at most one Pooling, then Normalize."""
    types = [str(module.get("type", "")) for module in modules]
    kinds = [name.rpartition(".")[2] for name in types]
    foreign = [name for name in types if not name.startswith(_PACKAGE)]
    unknown = foreign or sorted(set(kinds) - set(_MODULES))
    if unknown or "Transformer" not in kinds:
        raise ModelError(
            f"{folder}: modules.json names {', '.join(unknown) or 'no Transformer'}; want a Transformer and at most "
            f"Normalize, Pooling of sentence-transformers, whose code is not run"
        )
    places = [_MODULES.index(kind) for kind in kinds]
    if places != sorted(places) or kinds.count("Transformer") > 1 or kinds.count("Pooling") > 1:
        raise ModelError(
            f"{folder}: modules.json has {', '.join(kinds)}; want Transformer, Pooling, Normalize in order"
        )


def check_saved_settings(config: Mapping[str, Any], path: Path, *, normalize: bool) -> int | None:
    """Return the saved truncate_dim of config_sentence_transformers.json, None without one.

    Raises ModelError for a value that is not a dimension, for a default prompt that is not there and for another kind
    of model. A similarity other than cosine is told, as stores rank by cosine.
    """
    kind = config.get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise ModelError(f"{path}: model_type is {kind!r}; want 'SentenceTransformer', which gives one vector per text")
    default, prompts = config.get("default_prompt_name"), config.get("prompts") or {}
    if default is not None and default not in prompts:
        raise ModelError(f"{path}: default_prompt_name is {default!r}; want one of its prompts {sorted(prompts)}")
    similarity = config.get("similarity_fn_name")
    if similarity == "manhattan" or (similarity in {"dot", "euclidean"} and not normalize):
        _logger.warning("%s: the model was made for the similarity %r; here vectors rank by cosine", path, similarity)
    return saved_length(config, "truncate_dim", path)


def check_transformer_settings(settings: Mapping[str, Any], path: Path) -> None:
    """Raise ModelError for what changes the states of a transformer; other settings that are not read are told."""
    text = (settings.get("modality_config") or {}).get("text", {})
    wanted = {
        "transformer_task": (settings.get("transformer_task"), "feature-extraction"),
        "module_output_name": (settings.get("module_output_name"), "token_embeddings"),
        "modality_config.text.method": (text.get("method"), "forward"),
        "modality_config.text.method_output_name": (text.get("method_output_name"), "last_hidden_state"),
        "query_expansion": (settings.get("query_expansion") or None, None),
        "processing_kwargs": (settings.get("processing_kwargs") or None, None),
    }
    for name, (got, want) in wanted.items():
        if got not in {None, want} if want is not None else got is not None:
            raise ModelError(f"{path}: {name} is {got!r}; want {want!r}, or none: nothing else is supported")
    left = set(settings) - _READ - {name.partition(".")[0] for name in wanted}
    arguments = {name for name in left if name.endswith(("_args", "_kwargs"))}
    told = sorted(left - arguments) + sorted(
        f"{name}.{key}" for name in arguments for key in (settings[name] or {}) if key not in _HARMLESS
    )
    if told:
        _logger.warning("%s: not read: %s", path, ", ".join(told))


def saved_length(settings: Mapping[str, Any], name: str, path: Path) -> int | None:
    """Return a whole number of at least 1, None where there is none; raises ModelError for anything else."""
    value = settings.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ModelError(f"{path}: {name} is {value!r}; want a whole number of at least 1, or null for none")
    return value
