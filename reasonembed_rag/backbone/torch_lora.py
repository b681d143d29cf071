"""LoRA adapters as tensors of torch: read as they are stored, and merged into a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from reasonembed_rag.backbone.lora import ADAPTER_WEIGHTS, check_adapter_names, read_adapter_config
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Module

    from reasonembed_rag.backbone.lora import Lora

__all__ = ["merge_lora", "module_shapes", "read_adapter"]


def read_adapter(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the configuration and the A and B matrices of a PEFT LoRA folder, by their names in the file.

    Raises ModelError for a folder without adapter files, for damaged files and for adapters that are not plain LoRA.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_adapter_config(folder)
    try:
        tensors = load_file(folder / ADAPTER_WEIGHTS)
    except SafetensorError as error:
        raise ModelError(f"{folder / ADAPTER_WEIGHTS}: damaged ({error}); copy or download it again") from error
    check_adapter_names(tensors, folder)
    return config, tensors


def module_shapes(backbone: Module) -> dict[str, tuple[int, ...]]:
    """Return the shape of each module's weight, by the module's path."""
    named = backbone.named_parameters(remove_duplicate=False)
    return {name.removesuffix(".weight"): tuple(one.shape) for name, one in named if name.endswith(".weight")}


def merge_lora(backbone: Module, lora: Lora) -> None:
    """Add an adapter to the backbone's weights in place, summed in float32."""
    with torch.no_grad():
        for path, delta in lora.deltas.items():
            weight = backbone.get_parameter(f"{path}.weight")
            weight.copy_((weight.float() + torch.from_numpy(delta.dense()).to(weight.device)).to(weight.dtype))
