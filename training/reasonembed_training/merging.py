"""The average of several trained adapters as one: it generalises better than each (model soups, arXiv 2203.05482)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import pad

from reasonembed_rag.backbone import read_adapter, read_json
from reasonembed_rag.errors import TrainingError
from reasonembed_training.checkpoint import set_weights, trained_weights
from reasonembed_training.export import ADAPTER_CONFIG, ADAPTER_WEIGHTS, settle

__all__ = ["average_adapters", "average_with_base"]

_INPUT, _OUTPUT = ".lora_A.weight", ".lora_B.weight"
_SPEC, _RECORD = "spec.json", "training.json"
_SHARED = ("base_model_name_or_path", "revision")
_FREE = ("model", "weights")


def average_adapters(folders: Sequence[Path], to: Path, *, base_share: float = 0.0, rank: int | None = None) -> None:
    """Write the LoRA adapter whose change of every weight is the mean of the others', times 1 - base_share.

    The changes B A of n adapters of rank r are stacked: rank n r, exact but for the number format, which stays. With a
    smaller `rank` each change becomes the nearest one of that rank (truncated SVD): a smaller file, no longer exact.
    The folder gets PEFT's two files, spec.json and, in training.json, the records of all. Raises TrainingError for
    fewer than two adapters, for such as are not of one base, run in one way, on the same layers, and where the folder
    exists; ModelError for a folder that is no plain LoRA.
    """
    if len(folders) < 2:
        raise TrainingError(f"got {', '.join(map(str, folders)) or 'no adapter'} to average; want at least two")
    if not 0 <= base_share < 1:
        raise TrainingError(f"base_share is {base_share}; want 0 to below 1")
    if to.exists():
        raise TrainingError(f"{to} exists already; want a new folder")
    configs, weights = zip(*map(_read, folders), strict=True)
    for folder, config in zip(folders, configs, strict=True):
        _same(folders[0], configs[0], folder, config, keys=_SHARED)
    specs = [read_json(folder / _SPEC) for folder in folders]
    for folder, spec in zip(folders, specs, strict=True):
        _same(folders[0], specs[0], folder, spec, keys=sorted(set(specs[0]) - set(_FREE)))
    for folder, one in zip(folders, weights, strict=True):
        if one.keys() != weights[0].keys():
            name = min(one.keys() ^ weights[0].keys())
            raise TrainingError(f"{folders[0]} and {folder} changed different layers ({name}); want the same")
    stacked = sum(config["r"] for config in configs)
    rank = stacked if rank is None else rank
    if not 1 <= rank <= stacked:
        raise TrainingError(f"rank is {rank}; want 1 to {stacked}, the ranks of the adapters together")
    scales = [(1 - base_share) / len(folders) * config["lora_alpha"] / config["r"] for config in configs]
    aside = to.with_name(f".{to.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    whole = _stacked(weights, scales)
    like = weights[0]
    narrow = whole if rank == stacked else _nearest(whole, rank)
    save_file({name: one.to(like[name].dtype).contiguous() for name, one in narrow.items()}, aside / ADAPTER_WEIGHTS)
    records = [read_json(folder / _RECORD) if (folder / _RECORD).is_file() else None for folder in folders]
    for name, content in {
        ADAPTER_CONFIG: {**configs[0], "r": rank, "lora_alpha": rank},
        _SPEC: {**specs[0], "model": to.name, "weights": None},
        _RECORD: {"base_share": base_share, "rank": rank, "average_of": records},
    }.items():
        (aside / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    settle(aside, to)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    config, weights = read_adapter(folder)
    if config.get("use_rslora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise TrainingError(f"{folder}: its ranks or scales differ by layer; only LoRA of one rank can be stacked")
    if not (folder / _SPEC).is_file():
        raise TrainingError(f"{folder}: no {_SPEC}; want what training exports with run.export = 'adapter'")
    return config, weights


def _same(first: Path, wanted: Mapping[str, Any], folder: Path, got: Mapping[str, Any], *, keys: Sequence[str]) -> None:
    for key in keys:
        if wanted.get(key) != got.get(key):
            raise TrainingError(
                f"{folder}: {key} is {got.get(key)!r}, in {first} {wanted.get(key)!r}; want adapters of one model"
            )


def _stacked(weights: Sequence[Mapping[str, Tensor]], scales: Sequence[float]) -> dict[str, Tensor]:
    stacked = {}
    for name in weights[0]:
        ones = [one[name].float() for one in weights]
        if name.endswith(_OUTPUT):
            stacked[name] = torch.cat([scale * one for scale, one in zip(scales, ones, strict=True)], dim=1)
        else:
            stacked[name] = torch.cat(ones, dim=0)
    return stacked


def _nearest(weights: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Return each layer's nearest change of a rank in the Frobenius norm, as factors (Eckart and Young 1936)."""
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
        # Layers narrower than the rank get columns of zeros: an adapter has one rank.
        room = rank - len(root)
        nearest[name] = pad((left @ inner[:, :rank] * root).float(), (0, room))
        nearest[other] = pad((root[:, None] * (outer[:rank] @ right.T)).float(), (0, 0, 0, room))
    return nearest


def average_with_base(module: nn.Module, share: float, *, base: Callable[[], Mapping[str, Tensor]]) -> None:
    """Move the trained weights back towards the base's, in place: share * base + (1 - share) * trained.

    An adapter's change is scaled by 1 - share, which is the same; only else is `base` asked for the weights that
    training began with. Every process calls it. Source: weight-space ensembles, arXiv 2109.01903.
    """
    trained = trained_weights(module)
    adapter = {name for name in trained if ".lora_" in name}
    first = base() if trained.keys() - adapter else {}
    averaged = dict(trained)
    for name, weight in trained.items():
        if name not in adapter:
            averaged[name] = weight.lerp(first[name].to(weight.dtype), share)
        elif ".lora_B." in name:
            averaged[name] = weight * (1 - share)
    set_weights(averaged, module)
