"""Read LoRA adapters in PEFT's folder format and check them against a backbone, without torch."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.backbone.model_files import read_json
from reasonembed_rag.backbone.tensors import read_tensor_file
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "Lora",
    "LoraDelta",
    "adapter_base",
    "adapter_scaling",
    "add_lora",
    "check_adapter_names",
    "lora_changes",
    "read_adapter_config",
    "read_lora",
]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_KEY = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight")
_OTHER_KINDS = (
    "use_dora", "fan_in_fan_out", "modules_to_save", "layer_replication", "alora_invocation_tokens", "use_qalora",
    "use_bdlora", "arrow_config", "kasa_config", "velora_config", "monteclora_config", "target_parameters",
)  # fmt: skip
"""Settings of adapters that are more than scale * B @ A added to linear layers."""
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base as it is; PiSSA, OLoRA, CorDA and LoftQ subtract theirs from the base."""
_WRAPPERS = ("model.", "bert.", "roberta.", "mpnet.")
"""Prefixes of the backbone's modules within a model that has a head."""


@dataclass(frozen=True, slots=True)
class LoraDelta:
    """The change of one weight: scale * B @ A, with A (r, in) and B (out, r)."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scale: float

    def dense(self) -> NDArray[np.float32]:
        """Return the change as one matrix (out, in)."""
        change_NK = self.scale * (self.b.astype(np.float64) @ self.a)  # else the number of threads shows in last bits
        return change_NK.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter: the change of each weight, by its module's path in the backbone."""

    name: str
    deltas: Mapping[str, LoraDelta]


def adapter_base(folder: Path) -> str | None:
    """Return the name of an adapter's base model; None if the folder is not an adapter."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return None
    base = _read_config(folder).get("base_model_name_or_path")
    return str(base) if base else None


def adapter_scaling(folder: Path) -> str:
    """Return the settings of an adapter that change vectors beside its weights, one text for what is equal.

    The rank and the modules are those of the weights; other settings are paths, names or of training only. Raises
    ModelError where they are not numbers.
    """
    scaling = _scaling(_read_config(folder), folder)
    return json.dumps([scaling.alpha, [*scaling.patterns.items()], scaling.by_root])


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a PEFT LoRA folder.

    Raises ModelError for a folder without adapter files and for adapters that are not plain LoRA.
    """
    for wanted in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / wanted).is_file():
            raise ModelError(
                f"{folder}: no {wanted}; want a PEFT LoRA folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"
            )
    config = _read_config(folder)
    _check_kind(config, folder)
    return config


def check_adapter_names(names: Iterable[str], folder: Path) -> None:
    """Raise ModelError for a weight that is not the A or B matrix of a linear layer."""
    for name in names:
        if _KEY.fullmatch(name) is None:
            raise ModelError(f"{folder}: holds {name}; want only LoRA weights of linear layers")


def read_lora(folder: Path, *, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Lora:
    """Read a PEFT LoRA folder for a backbone with weights of these shapes, by their modules' paths.

    Raises ModelError where read_adapter_config does, for damaged files, and for an adapter that was trained on another
    backbone (a missing module or another shape).
    """
    scaling = _scaling(read_adapter_config(folder), folder)
    tensors = read_tensor_file(folder / ADAPTER_WEIGHTS)
    check_adapter_names(tensors, folder)
    sides: dict[str, dict[str, NDArray[np.float32]]] = {}
    for key, tensor in tensors.items():
        if match := _KEY.fullmatch(key):
            sides.setdefault(match["module"], {})[match["side"]] = tensor
    deltas = {
        _module_path(module, shapes, folder): _delta(module, pair, scaling, folder) for module, pair in sides.items()
    }
    for path, delta in deltas.items():
        _check_shape(path, delta, shapes[path], folder)
    return Lora(name, deltas)


def add_lora(tensors: Mapping[str, NDArray[np.float32]], folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a checkpoint, by their names in its files, with an adapter added; raises as read_lora."""
    changes = lora_changes({name: tensor.shape for name, tensor in tensors.items()}, folder)
    return {**tensors, **{name: tensors[name] + delta.dense() for name, delta in changes.items()}}


def lora_changes(shapes: Mapping[str, tuple[int, ...]], folder: Path) -> dict[str, LoraDelta]:
    """Return an adapter's changes of a checkpoint by the names in its files, given all shapes; raises as read_lora."""
    names = {_without_wrapper(name).removesuffix(".weight"): name for name in shapes if name.endswith(".weight")}
    lora = read_lora(folder, name=folder.name, shapes={path: shapes[name] for path, name in names.items()})
    return {names[path]: delta for path, delta in lora.deltas.items()}


def _read_config(folder: Path) -> dict[str, Any]:
    config = read_json(folder / ADAPTER_CONFIG)
    if not isinstance(config, dict):
        raise ModelError(f"{folder / ADAPTER_CONFIG}: holds {config!r:.40}; want the JSON object that PEFT writes")
    return config


def _check_kind(config: dict[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA":
        raise ModelError(f"{folder}: peft_type is {config.get('peft_type')!r}; want 'LORA'")
    for flag in _OTHER_KINDS:
        if config.get(flag):
            raise ModelError(f"{folder}: {flag} is set, which is not supported; merge the adapter with peft first")
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        raise ModelError(
            f"{folder}: init_lora_weights is {start!r}, so training also changed the base, whose weights are not in "
            "these files; save the adapter again with peft: model.save_pretrained(folder, "
            "path_initial_model_for_weight_conversion=INITIAL_ADAPTER)"
        )


@dataclass(frozen=True, slots=True)
class _Scaling:
    """How strongly an adapter changes each module."""

    alpha: float
    patterns: Mapping[str, float]
    """Other alphas, by regular expressions of modules' names, of which the first that matches holds."""
    by_root: bool
    """Whether alpha is divided by the rank's square root (rsLoRA) instead of the rank."""

    def of(self, module: str, *, rank: int) -> float:
        """Return the factor of B @ A for a module."""
        own = (value for name, value in self.patterns.items() if re.fullmatch(rf"(?:.*\.)?(?:{name})", module))
        return next(own, self.alpha) / (math.sqrt(rank) if self.by_root else rank)


def _scaling(config: Mapping[str, Any], folder: Path) -> _Scaling:
    try:
        patterns = {re.compile(name).pattern: float(one) for name, one in (config.get("alpha_pattern") or {}).items()}
        return _Scaling(float(config["lora_alpha"]), patterns, bool(config.get("use_rslora")))
    except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
        raise ModelError(
            f"{folder / ADAPTER_CONFIG}: lora_alpha is {config.get('lora_alpha')!r}, alpha_pattern "
            f"{config.get('alpha_pattern')!r}; want a number, and numbers by regular expressions of modules' names"
        ) from error


def _delta(module: str, pair: dict[str, NDArray[np.float32]], scaling: _Scaling, folder: Path) -> LoraDelta:
    if set(pair) != {"A", "B"}:
        raise ModelError(f"{folder}: {module} has only lora_{min(pair)}; the file is incomplete")
    return LoraDelta(pair["A"], pair["B"], scaling.of(module, rank=pair["A"].shape[0]))


def _module_path(module: str, shapes: Mapping[str, tuple[int, ...]], folder: Path) -> str:
    for name in (module, _without_wrapper(module)):
        if name in shapes:
            return name
    raise ModelError(f"{folder}: changes {module}, which this model lacks; the adapter was trained on another backbone")


def _without_wrapper(name: str) -> str:
    """Return a name as the backbone alone has it."""
    wrapper = next((wrapper for wrapper in _WRAPPERS if name.startswith(wrapper)), "")
    return name.removeprefix(wrapper)


def _check_shape(path: str, delta: LoraDelta, wanted: tuple[int, ...], folder: Path) -> None:
    got = (delta.b.shape[0], delta.a.shape[1])
    if wanted != got:
        raise ModelError(
            f"{folder}: {path} is {got}, the model's {wanted}; the adapter was trained on another backbone"
        )
