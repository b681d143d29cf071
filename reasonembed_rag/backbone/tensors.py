"""Read tensors from safetensors files as float32 arrays, without torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from reasonembed_rag.backbone.model_files import read_json
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["StoredTensor", "read_matrix_rows", "read_tensor_file", "read_tensors", "stored_tensors", "weight_files"]

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


def read_tensors(folder: Path, *, names: Collection[str] | None = None) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a checkpoint, or those of some names, by their names in its files; see read_tensor_file."""
    found: dict[str, NDArray[np.float32]] = {}
    for path in weight_files(folder):
        found |= read_tensor_file(path, names=names)
    return found


def read_matrix_rows(folder: Path, name: str, rows: Sequence[int]) -> NDArray[np.float32] | None:
    """Return some rows of a checkpoint's matrix without decoding the others; None where it has none of this name.

    Raises ModelError for rows beyond its end.
    """
    for path in weight_files(folder):
        stored = _stored(path)
        if name in stored:
            values, entry = stored[name]
            if max(rows) >= entry["shape"][0]:
                raise ModelError(f"{folder}: {name} has {entry['shape'][0]} rows, want row {max(rows)}")
            size = len(values) // entry["shape"][0]
            chosen = np.concatenate([values[row * size : (row + 1) * size] for row in rows])
            return _decoded(chosen, {**entry, "shape": [len(rows), *entry["shape"][1:]]})
    return None


def read_tensor_file(path: Path, *, names: Collection[str] | None = None) -> dict[str, NDArray[np.float32]]:
    """Return the floating-point tensors of a safetensors file; those in float32 are read-only views of the file.

    With names only these are read. Raises ModelError for a damaged file.
    """
    stored = _stored(path)
    return {name: _decoded(*stored[name]) for name in stored if names is None or name in names}


class StoredTensor(NamedTuple):
    """How a file holds a tensor: its number format, by safetensors' name, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Return how a safetensors file holds its floating-point tensors; raises ModelError for a damaged file."""
    return {name: StoredTensor(entry["dtype"], tuple(entry["shape"])) for name, (_, entry) in _stored(path).items()}


def _stored(path: Path) -> dict[str, tuple[NDArray[np.uint8], dict[str, Any]]]:
    """Return the bytes and the entry of each floating-point tensor of a safetensors file, by its name."""
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
        name: (content[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]], entry)
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] in _FORMATS
    }


def _decoded(content: NDArray[np.uint8], entry: dict[str, Any]) -> NDArray[np.float32]:
    raw = np.asarray(content).view(_FORMATS[entry["dtype"]])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    values: NDArray[np.float32] = raw.astype(np.float32, copy=False).reshape(entry["shape"])
    return values
