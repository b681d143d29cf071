"""The average of several trained adapters as one: it generalises better than each (model soups, arXiv 2203.05482)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from reasonembed_rag.encoder.adapters import read_adapter
from reasonembed_rag.encoder.folder import read_json
from reasonembed_rag.errors import TrainingError
from reasonembed_training.export import ADAPTER_CONFIG, ADAPTER_WEIGHTS, settle

__all__ = ["average_adapters"]

_SPEC, _RECORD = "spec.json", "training.json"
_SHARED = ("base_model_name_or_path", "revision")
_FREE = ("model", "weights")


def average_adapters(folders: Sequence[Path], to: Path, *, base_share: float = 0.0) -> None:
    """Write the LoRA adapter whose change of every weight is the mean of the others', times 1 - base_share.

    The changes B A of n adapters of rank r are stacked: rank n r, exact but for the number format, which stays.
    The folder gets PEFT's two files, spec.json and, in training.json, the records of all. Raises TrainingError for
    fewer than two adapters, for such as are not of one base, run in one way, on the same layers, and where the folder
    exists; ModelError for a folder that is no plain LoRA.
    """
    if len(folders) < 2:
        raise TrainingError(f"got {len(folders)} adapters to average; want at least two")
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
    scales = [(1 - base_share) / len(folders) * config["lora_alpha"] / config["r"] for config in configs]
    aside = to.with_name(f".{to.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    rank = sum(config["r"] for config in configs)
    save_file(_stacked(weights, scales), aside / ADAPTER_WEIGHTS)
    records = [read_json(folder / _RECORD) if (folder / _RECORD).is_file() else None for folder in folders]
    for name, content in {
        ADAPTER_CONFIG: {**configs[0], "r": rank, "lora_alpha": rank},
        _SPEC: {**specs[0], "model": to.name, "weights": None},
        _RECORD: {"base_share": base_share, "average_of": records},
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
    for name, like in weights[0].items():
        ones = [one[name].float() for one in weights]
        if name.endswith(".lora_B.weight"):
            whole = torch.cat([scale * one for scale, one in zip(scales, ones, strict=True)], dim=1)
        else:
            whole = torch.cat(ones, dim=0)
        stacked[name] = whole.to(like.dtype).contiguous()
    return stacked
