"""Read tensors from safetensors files as float32 arrays, without torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.backbone.model_files import read_json
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_tensor_file", "read_tensors", "weight_files"]

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_FORMATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Number formats of weights in safetensors' names, and numpy's types of the bytes; others are left out."""
_LENGTH_BYTES = 8


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint's weights; raises ModelError where one is missing."""
    if not (folder / _INDEX).is_file():
        names = {_WEIGHTS}
    else:
        parts = read_json(folder / _INDEX).get("weight_map")
        names = set(parts.values()) if isinstance(parts, dict) and parts else {_WEIGHTS}
    for name in sorted(names):
        if "/" in name or "\\" in name or not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name}; the download is incomplete")
    return [folder / name for name in sorted(names)]


def read_tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a checkpoint by their names in its files; see read_tensor_file."""
    return {name: tensor for path in weight_files(folder) for name, tensor in read_tensor_file(path).items()}


def read_tensor_file(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the floating-point tensors of a safetensors file; those in float32 are read-only views of the file.

    Raises ModelError for a damaged file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):  # checks every length and offset
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: damaged ({error}); want a whole safetensors file: copy or download it again"
        ) from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    start = _LENGTH_BYTES + length
    content = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size > start else np.empty(start, np.uint8)
    return {
        name: _decoded(content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], entry)
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] in _FORMATS
    }


def _decoded(content: NDArray[np.uint8], entry: dict[str, Any]) -> NDArray[np.float32]:
    raw = np.asarray(content).view(_FORMATS[entry["dtype"]])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    values: NDArray[np.float32] = raw.astype(np.float32, copy=False).reshape(entry["shape"])
    return values
