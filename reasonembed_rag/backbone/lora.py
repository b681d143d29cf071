"""Read LoRA adapters in PEFT's folder format, check them against the backbone and merge them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from reasonembed_rag.backbone.model_files import read_json
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module

__all__ = ["Lora", "LoraDelta", "adapter_base", "merge_lora", "read_lora"]

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
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

    a: Tensor
    b: Tensor
    scale: float

    def dense(self) -> Tensor:
        """Return the change as one float32 matrix (out, in)."""
        return self.scale * (self.b.float() @ self.a.float())


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter: the change of each weight, by its module's path in the backbone."""

    name: str
    deltas: Mapping[str, LoraDelta]


def adapter_base(folder: Path) -> str | None:
    """Return the name of an adapter's base model; None if the folder is not an adapter."""
    if not (folder / _CONFIG).is_file():
        return None
    base = read_json(folder / _CONFIG).get("base_model_name_or_path")
    return str(base) if base else None


def read_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the configuration and the A and B matrices of a PEFT LoRA folder, by their names in the file.

    Raises ModelError for a folder without adapter files, for damaged files and for adapters that are not plain LoRA.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for wanted in (_CONFIG, _WEIGHTS):
        if not (folder / wanted).is_file():
            raise ModelError(f"{folder}: no {wanted}; want a PEFT LoRA folder with {_CONFIG} and {_WEIGHTS}")
    config: dict[str, Any] = read_json(folder / _CONFIG)
    _check_kind(config, folder)
    try:
        tensors = load_file(folder / _WEIGHTS)
    except SafetensorError as error:
        raise ModelError(f"{folder / _WEIGHTS}: damaged ({error}); copy or download it again") from error
    for key in tensors:
        if _KEY.fullmatch(key) is None:
            raise ModelError(f"{folder}: holds {key}; want only LoRA weights of linear layers")
    return config, tensors


def read_lora(folder: Path, *, name: str, backbone: Module) -> Lora:
    """Read a PEFT LoRA folder for this backbone.

    Raises ModelError where read_adapter does, and for an adapter that was trained on another backbone (a missing
    module or another shape).
    """
    config, tensors = read_adapter(folder)
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if match := _KEY.fullmatch(key):
            sides.setdefault(match["module"], {})[match["side"]] = tensor
    deltas = {
        _module_path(module, backbone, folder): _delta(module, pair, config, folder) for module, pair in sides.items()
    }
    for path, delta in deltas.items():
        _check_shape(path, delta, backbone, folder)
    return Lora(name, deltas)


def merge_lora(backbone: Module, lora: Lora) -> None:
    """Add an adapter to the backbone's weights in place, summed in float32."""
    with torch.no_grad():
        for path, delta in lora.deltas.items():
            weight = backbone.get_submodule(path).weight
            if not isinstance(weight, torch.Tensor):
                raise ModelError(
                    f"adapter {lora.name}: {path} has no weight matrix; it was trained on another backbone"
                )
            weight.copy_((weight.float() + delta.dense().to(weight.device)).to(weight.dtype))


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


def _delta(module: str, pair: dict[str, Tensor], config: dict[str, Any], folder: Path) -> LoraDelta:
    if set(pair) != {"A", "B"}:
        raise ModelError(f"{folder}: {module} has only lora_{min(pair)}; the file is incomplete")
    rank = pair["A"].shape[0]
    alpha = _by_pattern(config.get("alpha_pattern") or {}, module, config["lora_alpha"])
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LoraDelta(pair["A"], pair["B"], scale)


def _by_pattern(patterns: dict[str, float], module: str, default: float) -> float:
    for pattern, value in patterns.items():
        if re.fullmatch(rf"(?:.*\.)?{pattern}", module):
            return float(value)
    return float(default)


def _module_path(module: str, backbone: Module, folder: Path) -> str:
    names = [module, *(module.removeprefix(wrapper) for wrapper in _WRAPPERS)]
    for name in names:
        try:
            backbone.get_submodule(name)
        except AttributeError:
            continue
        return name
    raise ModelError(f"{folder}: changes {module}, which this model lacks; the adapter was trained on another backbone")


def _check_shape(path: str, delta: LoraDelta, backbone: Module, folder: Path) -> None:
    weight = getattr(backbone.get_submodule(path), "weight", None)
    wanted = tuple(weight.shape) if isinstance(weight, torch.Tensor) else None
    got = (delta.b.shape[0], delta.a.shape[1])
    if wanted != got:
        raise ModelError(
            f"{folder}: {path} is {got}, the model's {wanted}; the adapter was trained on another backbone"
        )
