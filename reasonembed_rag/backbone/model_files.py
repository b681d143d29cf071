"""Read the files of a model folder: sentence-transformers' files and config.json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasonembed_rag.backbone.saved_settings import (
    check_modules,
    check_saved_settings,
    check_transformer_settings,
    saved_length,
)
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reasonembed_rag.spec import Pooling

__all__ = [
    "FolderFacts",
    "read_bare_folder",
    "read_folder",
    "read_json",
    "read_transformer_config",
    "transformer_folder",
    "transformer_settings",
]

_POOLING_MODES: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
_WITHOUT_TYPES = {"PreTrainedTokenizerFast", "TokenizersBackend"}
"""Classes of tokenizers for any model; those of a model with token types give them."""
_NO_LIMIT = 8192
"""From here on a tokenizer's limit is not the length of training: files give 131,072 or 10^30."""
_INSTRUCT = re.compile(r"(?P<head>.*Instruct: )(?P<instruction>.+?)(?P<tail>\nQuery: ?)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """Settings from the files; None for what they do not give."""

    transformer_folder: Path
    config: dict[str, Any]
    pooling: Pooling | None = None
    pool_prompt: bool | None = None
    normalize: bool | None = None
    max_length: int | None = None
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None
    query_template: str | None = None
    document_template: str | None = None
    default_instruction: str | None = None
    segments: bool = False
    """Whether ids tell segments apart, for models of pairs with token types; see SEGMENT."""


def read_folder(folder: Path, *, weights: bool = True) -> FolderFacts:
    """Read a sentence-transformers folder (modules.json) or a plain transformers folder; `weights`: they are needed.

    Raises ModelError for a folder without config.json or weights and for unsupported modules.
    """
    if not (folder / "modules.json").is_file():
        return FolderFacts(transformer_folder=folder, config=_config(folder, weights=weights))
    check_modules(read_json(folder / "modules.json"), folder)
    modules = _modules(folder)
    transformer = modules["Transformer"]
    path = folder / "config_sentence_transformers.json"
    saved = read_json(path) if path.is_file() else {}
    settings = transformer_settings(transformer)
    check_transformer_settings(settings, transformer)
    instruct = _prompts(saved)
    normalize = "Normalize" in modules and _normalizes(modules["Normalize"])
    pooling = _pooling(modules["Pooling"]) if "Pooling" in modules else None
    pool_prompt = read_json(modules["Pooling"] / "config.json").get("include_prompt") if "Pooling" in modules else None
    if pooling == "cls" and pool_prompt is False and (instruct.query_template or instruct.document_template):
        raise ModelError(
            f"{folder}: the first token after the prompt is the vector; want include_prompt, or mean pooling"
        )
    return FolderFacts(
        transformer_folder=transformer,
        config=_config(transformer, weights=weights),
        pooling=pooling,
        pool_prompt=pool_prompt,
        normalize=normalize,
        max_length=_max_length(transformer),
        max_query_length=saved_length(settings, "query_length", transformer),
        max_document_length=saved_length(settings, "document_length", transformer),
        truncate_dim=check_saved_settings(saved, path, normalize=normalize),
        query_template=instruct.query_template,
        document_template=instruct.document_template,
        default_instruction=instruct.default_instruction,
    )


def read_bare_folder(folder: Path, *, pooling: Pooling, pairs: bool) -> FolderFacts:
    """Read the transformer of a folder for its states alone: pooled as asked, not normalised, without templates.

    For pairs, ids hold token types where the model has several and its tokenizer gives them. What other modules do
    with the states is the caller's. Raises ModelError for a folder without config.json or weights.
    """
    transformer = transformer_folder(folder)
    config = _config(transformer, weights=True)
    several_types = int(config.get("type_vocab_size") or 0) > 1
    return FolderFacts(
        transformer_folder=transformer,
        config=config,
        pooling=pooling,
        normalize=False,
        max_length=_max_length(transformer),
        segments=pairs and several_types and _gives_token_types(transformer),
    )


def _gives_token_types(transformer: Path) -> bool:
    """Return whether a tokenizer gives token types: as its settings say, else as its class does in transformers."""
    path = transformer / "tokenizer_config.json"
    settings = read_json(path) if path.is_file() else {}
    if "model_input_names" in settings:
        return "token_type_ids" in settings["model_input_names"]
    return settings.get("tokenizer_class") not in _WITHOUT_TYPES


def transformer_folder(folder: Path) -> Path:
    """Return the folder of the transformer's files, tokenizer included; needs no weights."""
    return _modules(folder).get("Transformer", folder) if (folder / "modules.json").is_file() else folder


def _modules(folder: Path) -> dict[str, Path]:
    """Return the folder of each module of a sentence-transformers folder, by kind."""
    return {_kind(module): folder / module.get("path", "") for module in read_json(folder / "modules.json")}


def read_transformer_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a model's transformer; raises ModelError for a folder without it or without weights."""
    return _config(transformer_folder(folder), weights=True)


def read_json(path: Path) -> Any:
    """Read a JSON file; raises ModelError with its name if that fails."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot be read as JSON ({error}); the model folder is incomplete or damaged"
        ) from error


def _kind(module: dict[str, Any]) -> str:
    return str(module.get("type", "")).rpartition(".")[2]


def _config(folder: Path, *, weights: bool) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder}: no config.json; want a transformers or sentence-transformers model folder{_hint(folder)}"
        )
    config: dict[str, Any] = read_json(folder / "config.json")
    if weights and not any(folder.glob("*.safetensors")):
        others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.h5") for path in folder.glob(pattern))
        hint = f"; {others[0]} is not read, since pickles can run code: convert it to safetensors" if others else ""
        raise ModelError(f"{folder}: no weights; want model.safetensors next to config.json{hint}")
    return config


def _pooling(folder: Path) -> Pooling:
    config = read_json(folder / "config.json")
    if "pooling_mode" in config:  # sentence-transformers >= 5.2
        named = config["pooling_mode"]
        modes = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
        chosen: list[Any] = [modes.get(named)] if isinstance(named, str) else [modes.get(mode) for mode in named]
    else:
        chosen = [_POOLING_MODES.get(key) for key, on in config.items() if key.startswith("pooling_mode_") and on]
        chosen = chosen or ["mean"]
    if len(chosen) != 1 or chosen[0] is None:
        raise ModelError(f"{folder}/config.json: want one pooling mode of cls, mean or last token, got {config}")
    pooling: Pooling = chosen[0]
    return pooling


def _normalizes(folder: Path) -> bool:
    """Return True; raises ModelError for a Normalize module of something else than the vector of a text."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    for name in ("module_input_name", "module_output_name"):
        if config.get(name) not in {None, "sentence_embedding"}:
            raise ModelError(f"{path}: {name} is {config[name]!r}; want 'sentence_embedding'")
    return True


def transformer_settings(folder: Path) -> dict[str, Any]:
    """Return sentence-transformers' settings of a transformer: max_seq_length, do_lower_case; {} if there are none."""
    for kind in _KINDS:
        path = folder / f"sentence_{kind}_config.json"
        if path.is_file():
            settings: dict[str, Any] = read_json(path)
            return settings
    return {}


def _max_length(transformer: Path) -> int | None:
    """Return the maximum length in tokens from sentence-transformers' settings, else from the tokenizer's."""
    length = transformer_settings(transformer).get("max_seq_length")
    path = transformer / "tokenizer_config.json"
    if not length and path.is_file():
        length = read_json(path).get("model_max_length")
        return int(length) if length and length < _NO_LIMIT else None
    return int(length) if length else None


@dataclass(frozen=True, slots=True)
class _Prompts:
    query_template: str | None
    document_template: str | None
    default_instruction: str | None


def _prompts(config: Mapping[str, Any]) -> _Prompts:
    prompts: dict[str, str] = config.get("prompts") or {}
    default = prompts.get(config.get("default_prompt_name") or "", "")
    query = prompts.get("query", default)
    document = next((prompts[name] for name in ("document", "passage", "text") if name in prompts), default)
    instruct = _INSTRUCT.fullmatch(query)
    instruction = None
    if instruct:
        instruction = instruct["instruction"]
        query = f"{instruct['head']}{{instruction}}{instruct['tail']}"
    return _Prompts(f"{query}{{text}}" if query else None, f"{document}{{text}}" if document else None, instruction)


def _hint(folder: Path) -> str:
    """Return where the model is that a folder without config.json was taken for."""
    if (folder / "latent.json").is_file():
        return "; this one holds a latent model: use LatentEncoder, or reasonembed memory"
    if any((folder / "model" / name).is_file() for name in ("config.json", "adapter_config.json")):
        return f"; this one holds a training run: take {folder / 'model'}"
    if any(folder.glob("*.gguf")):
        return "; GGUF is not read: take the model's safetensors"
    return ""
