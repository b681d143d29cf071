"""Write the weights of a model with its adapters merged, one tensor in memory at a time."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from reasonembed_rag.backbone import lora_changes, read_tensor_file, stored_tensors, weight_files
from reasonembed_rag.errors import InputError, want_one_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import LoraDelta, ModelSource

__all__ = ["ExportDtype", "write_weights"]

ExportDtype = Literal["auto", "float32", "bfloat16", "float16"]

_FORMATS = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
_BYTES = {"F32": 4, "BF16": 2, "F16": 2}
_NAMES = {"F64": "float64", **{own: name for name, own in _FORMATS.items()}}
_INDEX = "model.safetensors.index.json"


def write_weights(source: ModelSource, folder: Path, *, dtype: ExportDtype) -> str:
    """Write a model's weights by the names in its files; return the number format of the most.

    "auto" is float32 where an adapter is merged, whose changes bfloat16 would round away, else the files as they are.
    """
    if dtype not in get_args(ExportDtype):
        raise InputError(f"dtype is {dtype!r}; {want_one_of(dtype, get_args(ExportDtype))}")
    files = weight_files(source.facts.transformer_folder)
    stored = {path: stored_tensors(path) for path in files}
    index = source.facts.transformer_folder / _INDEX
    if index.is_file():
        shutil.copyfile(index, folder / _INDEX)
    if dtype == "auto" and not source.merged:
        for path in files:
            shutil.copyfile(path, folder / path.name)
        formats = [tensor.dtype for tensors in stored.values() for tensor in tensors.values()]
        return _NAMES[max(set(formats), key=formats.count)]
    shapes = {name: tensor.shape for tensors in stored.values() for name, tensor in tensors.items()}
    changes = [lora_changes(shapes, adapter) for adapter in source.merged]
    chosen = "float32" if dtype == "auto" else dtype
    for path, tensors in stored.items():
        ours = {name: shapes[name] for name in tensors}
        _write_file(path, folder / path.name, ours, changes=changes, wanted=_FORMATS[chosen])
    return chosen


def _write_file(
    path: Path, to: Path, shapes: dict[str, tuple[int, ...]], *, changes: list[dict[str, LoraDelta]], wanted: str
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * _BYTES[wanted]
        header[name] = {"dtype": wanted, "shape": list(shape), "data_offsets": [start, end]}
    described = json.dumps(header, separators=(",", ":")).encode()
    described += b" " * (-len(described) % 8)
    with to.open("wb") as file:
        file.write(len(described).to_bytes(8, "little"))
        file.write(described)
        for name in shapes:
            values = read_tensor_file(path, names={name})[name]
            for change in changes:
                if name in change:
                    values = values + change[name].dense()
            file.write(_encoded(values, wanted, name=name).tobytes())


def _encoded(values: NDArray[np.float32], wanted: str, *, name: str) -> NDArray[Any]:
    if wanted == "F32":
        return values.astype("<f4", copy=False)
    if wanted == "F16":
        with np.errstate(over="ignore"):
            halves = values.astype("<f2")
        if not np.isfinite(halves).all() and np.isfinite(values).all():
            raise InputError(f"{name} has values that float16 cannot hold; want dtype='bfloat16' or 'float32'")
        return halves
    bits = np.ascontiguousarray(values).view(np.uint32)  # the upper half, rounded to nearest, ties to even
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
