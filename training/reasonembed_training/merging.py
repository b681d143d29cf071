"""Merge weights: the average of several adapters, and the interpolation of trained weights with the initial ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad

from reasonembed_rag.backbone import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_adapter, read_json
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import replacing_folder
from reasonembed_training.checkpoint import set_weights, trained_weights

__all__ = ["average_adapters", "interpolate_weights"]

_INPUT, _OUTPUT = ".lora_A.weight", ".lora_B.weight"
_SPEC, _RECORD = "spec.json", "training.json"
_SAME_BASE = ("base_model_name_or_path", "revision")
_MAY_DIFFER = ("model", "weights")
"""Keys of spec.json that name the adapter itself."""


def average_adapters(folders: Sequence[Path], to: Path, *, interpolate: float = 0.0, rank: int | None = None) -> None:
    """Write one LoRA adapter whose change of each weight is the adapters' mean change, times 1 - interpolate.

    Averages of several runs generalise better than each (model soups, arXiv 2203.05482); `interpolate` is the share of
    the base, and an adapter that is named several times counts as often. The changes B A of n adapters of rank r are
    concatenated to rank n r, which is exact up to the number format. With a smaller `rank` each change is replaced by
    the nearest one of that rank (truncated SVD). The folder also gets spec.json and, in training.json, the records of
    all adapters. One adapter may be alone where `interpolate` is above 0, which only scales its change. Raises
    TrainingError for fewer adapters, for adapters of other bases, specs or layers, and if the folder exists; ModelError
    for a folder without a plain LoRA adapter.
    """
    if not 0 <= interpolate < 1:
        raise TrainingError(f"interpolate is {interpolate}; want 0 to below 1")
    if len(folders) < (1 if interpolate else 2):
        raise TrainingError(
            f"got {', '.join(map(str, folders)) or 'no adapter'} to average; want at least two, or one and a share "
            "of the base (interpolate) above 0"
        )
    if to.exists():
        raise TrainingError(f"{to} exists already; want a new folder")
    configs, weights = zip(*map(_read, folders), strict=True)
    specs = [read_json(folder / _SPEC) for folder in folders]
    _check_alike(folders, configs, specs, weights)
    concatenated = sum(config["r"] for config in configs)
    rank = concatenated if rank is None else rank
    if not 1 <= rank <= concatenated:
        raise TrainingError(f"rank is {rank}; want 1 to {concatenated}, the sum of the adapters' ranks")
    scales = [(1 - interpolate) / len(folders) * config["lora_alpha"] / config["r"] for config in configs]
    average = _concatenated(weights, scales)
    if rank < concatenated:
        average = _nearest(average, rank)
    records = [_record(folder, times=times) for folder, times in Counter(folders).items()]
    contents = {
        ADAPTER_CONFIG: {**configs[0], "r": rank, "lora_alpha": rank},
        _SPEC: {**specs[0], "model": to.name, "weights": None},
        _RECORD: {"interpolate": interpolate, "rank": rank, "average_of": records},
    }
    _write(to, {name: one.to(weights[0][name].dtype).contiguous() for name, one in average.items()}, contents)


def interpolate_weights(module: nn.Module, share: float, *, initial: Callable[[], Mapping[str, Tensor]]) -> None:
    """Set the trained weights to share * initial + (1 - share) * trained, in place; every process calls it.

    An adapter's change is scaled by 1 - share, which is equivalent; `initial`, which returns the weights that training
    started from, is called for other weights only. Source: weight-space ensembles, arXiv 2109.01903.
    """
    trained = trained_weights(module)
    adapter = {name for name in trained if ".lora_" in name}
    first = initial() if trained.keys() - adapter else {}
    interpolated = dict(trained)
    for name, weight in trained.items():
        if name not in adapter:
            interpolated[name] = weight.lerp(first[name].to(weight.dtype), share)
        elif ".lora_B." in name:
            interpolated[name] = weight * (1 - share)
    set_weights(interpolated, module)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, weights = read_adapter(folder)
    if config.get("use_rslora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise TrainingError(f"{folder}: its ranks or scales differ between layers; want LoRA with one rank and scale")
    if not (folder / _SPEC).is_file():
        raise TrainingError(f"{folder}: no {_SPEC}; want a folder exported with run.export = 'adapter'")
    return config, weights


def _record(folder: Path, *, times: int) -> dict[str, Any] | None:
    """Return the record of an adapter, with the number of times that it was averaged if that is not 1."""
    if not (folder / _RECORD).is_file():
        return None
    return {**({"times": times} if times > 1 else {}), **read_json(folder / _RECORD)}


def _check_alike(
    folders: Sequence[Path],
    configs: Sequence[Mapping[str, Any]],
    specs: Sequence[Mapping[str, Any]],
    weights: Sequence[Mapping[str, Tensor]],
) -> None:
    """Raise TrainingError for adapters of another base, spec or set of layers than the first one's."""
    for folder, config in zip(folders, configs, strict=True):
        _check_same(folders[0], configs[0], folder, config, keys=_SAME_BASE)
    for folder, spec in zip(folders, specs, strict=True):
        _check_same(folders[0], specs[0], folder, spec, keys=sorted(set(specs[0]) - set(_MAY_DIFFER)))
    for folder, one in zip(folders, weights, strict=True):
        if one.keys() != weights[0].keys():
            name = min(one.keys() ^ weights[0].keys())
            raise TrainingError(f"{folders[0]} and {folder} adapt different layers ({name}); want the same")


def _check_same(
    first: Path, wanted: Mapping[str, Any], folder: Path, got: Mapping[str, Any], *, keys: Sequence[str]
) -> None:
    for key in keys:
        if wanted.get(key) != got.get(key):
            raise TrainingError(
                f"{folder}: {key} is {got.get(key)!r}, in {first} {wanted.get(key)!r}; want adapters of one model"
            )


def _concatenated(weights: Sequence[Mapping[str, Tensor]], scales: Sequence[float]) -> dict[str, Tensor]:
    """Return factors of each layer's weighted sum of changes."""
    concatenated = {}
    for name in weights[0]:
        ones = [one[name].float() for one in weights]
        if name.endswith(_OUTPUT):
            concatenated[name] = torch.cat([scale * one for scale, one in zip(scales, ones, strict=True)], dim=1)
        else:
            concatenated[name] = torch.cat(ones, dim=0)
    return concatenated


def _nearest(weights: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return factors of each layer's nearest change of a rank in the Frobenius norm (Eckart and Young 1936)."""
    nearest = {}
    for name, output in weights.items():
        if not name.endswith(_OUTPUT):
            continue
        other = name.removesuffix(_OUTPUT) + _INPUT
        # The change itself is never formed: Q1 R1 R2' Q2' has the singular values of R1 R2', which is small.
        left, first = torch.linalg.qr(output.double())
        right, second = torch.linalg.qr(weights[other].double().T)
        inner, values, outer = torch.linalg.svd(first @ second.T, full_matrices=False)
        root = values[:rank].sqrt()
        # Layers narrower than the rank are padded with zeros, since an adapter has one rank.
        missing = rank - len(root)
        nearest[name] = pad((left @ inner[:, :rank] * root).float(), (0, missing))
        nearest[other] = pad((root[:, None] * (outer[:rank] @ right.T)).float(), (0, 0, 0, missing))
    return nearest


def _write(to: Path, weights: dict[str, Tensor], contents: Mapping[str, object]) -> None:
    with replacing_folder(to) as aside:
        save_file(weights, aside / ADAPTER_WEIGHTS)
        for name, content in contents.items():
            (aside / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
