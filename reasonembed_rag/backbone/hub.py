"""Find a model's local folder by its name."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from reasonembed_rag.backbone.download import download
from reasonembed_rag.backbone.known_models import ALIASES
from reasonembed_rag.backbone.large_base import large_base_folder
from reasonembed_rag.backbone.small_base import small_base_folder
from reasonembed_rag.errors import InputError, ModelError

__all__ = [
    "BASE_MODEL",
    "DEFAULT_MODEL",
    "LARGE_BASE_MODEL",
    "LARGE_MODEL",
    "OWN_MODELS",
    "find_model",
]

DEFAULT_MODEL = "default"
BASE_MODEL = "default-base"
"""The base of the default model, as published."""
LARGE_MODEL = "default-large"
LARGE_BASE_MODEL = "default-large-base"
"""The base of the large default model, as published."""
OWN_MODELS = (DEFAULT_MODEL, BASE_MODEL, LARGE_MODEL, LARGE_BASE_MODEL)
"""Names with one meaning everywhere, which files may store."""
_ADAPTERS = {
    DEFAULT_MODEL: Path(__file__).parents[1] / "default",
    LARGE_MODEL: Path(__file__).parents[1] / "default_large",
}
"""The adapters trained on the bases, each with its card and its record."""
_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_WEIGHTS = "*.safetensors"


def find_model(name_or_path: str, *, revision: str | None = None, weights: bool = True) -> Path:
    """Return the local folder of a model: one of OWN_MODELS, a folder, an alias or a hub id (downloaded once).

    Without `weights` they are not downloaded. Raises ModelError if there is no such model, InputError for a revision of
    one of OWN_MODELS, MissingDependencyError if the base of one is not installed and cannot be downloaded.
    """
    if name_or_path in OWN_MODELS:
        if revision is not None:
            raise InputError(f"revision is {revision!r}; want None: this release has one revision of {name_or_path}")
        return _own_model(name_or_path, weights=weights)
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if name_or_path not in ALIASES and _looks_like_path(name_or_path):
        close = difflib.get_close_matches(name_or_path, [*OWN_MODELS, *ALIASES], n=1)
        raise ModelError(
            f"{name_or_path}: no such model folder; "
            + (f"did you mean {close[0]!r}? Else " if close else "")
            + f"want a folder with config.json, a hub id owner/name, an alias, {DEFAULT_MODEL!r} or {LARGE_MODEL!r}"
        )
    wanted = [*_SMALL_FILES, _WEIGHTS] if weights else _SMALL_FILES
    return download(ALIASES.get(name_or_path, name_or_path), revision=revision, wanted=wanted)


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or os.sep * 2 in name or name.count("/") != 1


def _own_model(name: str, *, weights: bool) -> Path:
    if name in _ADAPTERS:
        return _ADAPTERS[name]
    return large_base_folder(weights=weights) if name == LARGE_BASE_MODEL else small_base_folder(weights=weights)
