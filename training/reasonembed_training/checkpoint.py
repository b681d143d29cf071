"""Checkpoints: the state of a run in one folder that is complete or absent."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import flush_folder, replacing
from reasonembed_training.dev_eval import Measurement

__all__ = [
    "TrainingProgress",
    "checkpoints",
    "load_weights",
    "prune",
    "read_progress",
    "restore",
    "save",
    "save_weights",
    "trained_weights",
]

_NAME = re.compile(r"step-(\d{8})")
_WEIGHTS, _OPTIMIZER, _STATE, _RANDOM = (
    "weights.safetensors",
    "optimizer.safetensors",
    "state.json",
    "random-{:05d}.safetensors",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """The state of a run other than tensors."""

    step: int
    """Optimiser steps done."""
    recipe: str
    """The recipe, written by recipe_to_json."""
    data: str
    """Digest of the rows."""
    world: int = 1
    """Number of processes."""
    base: Measurement | None = None
    """Dev scores before the first step."""
    best: Measurement | None = None
    """Dev scores with the highest mean."""
    last: Measurement | None = None
    """Most recent dev scores."""
    since_best: int = 0
    """Measurements since the best one."""
    seconds: float = 0.0
    """Time spent in steps."""
    tokens: int = 0
    """Tokens of queries and documents so far."""


def save(folder: Path, progress: TrainingProgress, model: nn.Module, optimizer: Optimizer, *, rank: int = 0) -> Path:
    """Write a checkpoint of the step and return its folder; every process calls it.

    Files are written aside, flushed and renamed, so that a kill at any moment leaves complete checkpoints only.
    """
    final = folder / f"step-{progress.step:08d}"
    aside = folder / f".{final.name}.tmp"
    if rank == 0:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    _wait()
    weights, moments = trained_weights(model), _moments(model, optimizer)
    _write(aside / _RANDOM.format(rank), _random_state())
    if rank == 0:
        _write(aside / _WEIGHTS, weights)
        _write(aside / _OPTIMIZER, moments)
        with replacing(aside / _STATE) as file:
            file.write(json.dumps(asdict(progress), ensure_ascii=False).encode())
    _wait()
    if rank == 0:
        shutil.rmtree(final, ignore_errors=True)
        aside.replace(final)
        flush_folder(folder)
    _wait()
    return final


def restore(checkpoint: Path, model: nn.Module, optimizer: Optimizer, *, rank: int = 0) -> None:
    """Restore weights, optimiser and random state; every process calls it.

    Raises TrainingError for a damaged checkpoint and for one of another model.
    """
    load_weights(checkpoint / _WEIGHTS, model)
    moments = _read(checkpoint / _OPTIMIZER)
    for name, parameter in _trained(model).items():
        keys = [key for key in moments if key.rpartition("/")[0] == name]
        optimizer.state[parameter] = {key.rpartition("/")[2]: _like(parameter, moments[key]) for key in keys}
    random = _read(checkpoint / _RANDOM.format(rank))
    torch.set_rng_state(random["cpu"])
    if "device" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["device"])


def save_weights(path: Path, model: nn.Module, *, rank: int = 0) -> None:
    """Write the trained weights only; every process calls it, the first one writes."""
    weights = trained_weights(model)
    if rank == 0:
        _write(path, weights)
    _wait()


def load_weights(path: Path, model: nn.Module) -> None:
    """Load the trained weights from a file; raises TrainingError if it is damaged or of another model."""
    weights, parameters = _read(path), _trained(model)
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wanted = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    if shapes != wanted:
        differing = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
        raise TrainingError(
            f"{path}: {len(differing)} weights do not match this model, such as {differing[0]}; want the same model"
        )
    set_weights(weights, model)


def set_weights(weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Set the trained weights to unsharded ones with the names of trained_weights."""
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(_like(parameter, weights[name]))


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the trained weights by name, unsharded and on the CPU; every process calls it."""
    return {name: _unsharded(parameter) for name, parameter in _trained(model).items()}


def checkpoints(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name))


def prune(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and incomplete ones of killed runs."""
    for path in [*checkpoints(folder)[:-keep], *folder.glob(".step-*.tmp")]:
        shutil.rmtree(path, ignore_errors=True)


def read_progress(checkpoint: Path) -> TrainingProgress:
    """Read the progress of a checkpoint; raises TrainingError if it is damaged."""
    try:
        fields = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        for name in ("base", "best", "last"):
            if fields[name] is not None:
                fields[name] = Measurement.from_json(fields[name])
        return TrainingProgress(**fields)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{checkpoint}: damaged ({error}); {_CURE}") from error


_CURE = "delete that folder to resume from the checkpoint before it"


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters by their names without a distributed wrapper."""
    named = model.named_parameters()
    return {name.removeprefix("module."): parameter for name, parameter in named if parameter.requires_grad}


def _moments(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's tensors by parameter/name."""
    return {
        f"{name}/{key}": _unsharded(value)
        for name, parameter in _trained(model).items()
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def _unsharded(tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU, gathered if it is sharded."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu().contiguous()


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return an unsharded tensor on the parameter's device, sharded if the parameter is."""
    if value.ndim == 0:  # AdamW counts its steps on the CPU
        return value
    moved = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return moved
    return distribute_tensor(moved, parameter.device_mesh, parameter.placements)


def _random_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"device": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else state


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save as to_bytes

    with replacing(path) as file:
        file.write(to_bytes(tensors))


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise TrainingError(f"{path}: missing; resume with as many processes as before, or {_CURE}") from error
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: damaged ({error}); {_CURE}") from error


def _wait() -> None:
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
