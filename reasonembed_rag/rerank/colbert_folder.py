"""Read the folder of a late-interaction model as PyLate saves it."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reasonembed_rag.backbone import read_json, read_tensors
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LateSettings", "read_late_settings", "read_projections"]

_SETTINGS = "config_sentence_transformers.json"
_QUERY_LENGTH, _DOCUMENT_LENGTH = 32, 180
_TRANSFORMER, _DENSE, _NORMALIZE = "Transformer", "Dense", "Normalize"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateSettings:
    """How a late-interaction model reads texts; PyLate's defaults where its files give nothing."""

    query_prefix: str = "[Q] "
    """One token of the vocabulary, read after the first one; "" for none."""
    document_prefix: str = "[D] "
    query_length: int = _QUERY_LENGTH
    """The most tokens of a query, special tokens and prefix included."""
    document_length: int = _DOCUMENT_LENGTH
    expands: bool = True
    """Whether queries are filled up to their length with mask tokens, whose vectors count."""
    attends_to_expansion: bool = False
    skipped_words: tuple[str, ...] = tuple(string.punctuation)
    """Tokens of documents whose vectors are left out."""


def read_late_settings(folder: Path) -> LateSettings:
    """Return the settings of a PyLate folder; raises ModelError for another kind of model."""
    path = folder / _SETTINGS
    saved: dict[str, Any] = read_json(path) if path.is_file() else {}
    own = {"query_prefix", "document_prefix", "query_length", "document_length", "do_query_expansion"}
    if not own & saved.keys():
        raise ModelError(
            f"{folder}: {_SETTINGS} has none of {', '.join(sorted(own))}; want a late-interaction model as PyLate "
            "saves it, such as lightonai/Reason-ModernColBERT"
        )
    words = saved.get("skiplist_words")
    return LateSettings(
        query_prefix=_text(saved, "query_prefix", "[Q] "),
        document_prefix=_text(saved, "document_prefix", "[D] "),
        query_length=_length(saved, "query_length", _QUERY_LENGTH, path),
        document_length=_length(saved, "document_length", _DOCUMENT_LENGTH, path),
        expands=saved.get("do_query_expansion") is not False,
        attends_to_expansion=bool(saved.get("attend_to_expansion_tokens")),
        skipped_words=tuple(string.punctuation if words is None else words),
    )


def _text(saved: dict[str, Any], name: str, default: str) -> str:
    return str(saved[name] or "") if name in saved else default


def _length(saved: dict[str, Any], name: str, default: int, path: Path) -> int:
    value = default if saved.get(name) is None else saved[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 4:
        raise ModelError(f"{path}: {name} is {value!r}; want a whole number of at least 4")
    return value


def read_projections(folder: Path) -> tuple[NDArray[np.float32], ...]:
    """Return the matrices (out, in) through which token states go, one after another.

    Raises ModelError for modules other than a Transformer and Dense modules that are plain products.
    """
    modules = [(str(one.get("type", "")).rpartition(".")[2], str(one.get("path", ""))) for one in _modules(folder)]
    kinds = [kind for kind, _ in modules]
    if kinds[:1] != [_TRANSFORMER] or set(kinds[1:]) - {_DENSE, _NORMALIZE} or _DENSE not in kinds:
        raise ModelError(f"{folder}: modules.json has {', '.join(kinds) or 'nothing'}; want a Transformer, then Dense")
    return tuple(_matrix(folder / path) for kind, path in modules if kind == _DENSE)


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / "modules.json"
    if not path.is_file():
        raise ModelError(f"{folder}: no modules.json; want a late-interaction model as PyLate saves it")
    modules: list[dict[str, Any]] = read_json(path)
    return modules


def _matrix(folder: Path) -> NDArray[np.float32]:
    config = read_json(folder / "config.json")
    activation = str(config.get("activation_function", "Identity")).rpartition(".")[2]
    if activation.removesuffix("()") != "Identity" or config.get("use_residual"):
        raise ModelError(f"{folder}/config.json: {config}; want a product without activation and residual")
    tensors = read_tensors(folder)
    if set(tensors) != {"linear.weight"}:
        raise ModelError(f"{folder}: has the tensors {sorted(tensors)}; want linear.weight alone, without a bias")
    return tensors["linear.weight"]
