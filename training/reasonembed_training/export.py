"""Export a trained model as a folder that Encoder.from_pretrained and sentence-transformers both load."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor
from transformers.utils import logging as transformers_logging

from reasonembed_rag.backbone import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    OWN_MODELS,
    EncoderSettings,
    find_model,
    load_model,
    read_folder,
)
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.export import write_sentence_transformers_files
from reasonembed_rag.files import replacing_folder
from reasonembed_training.checkpoint import trained_weights
from reasonembed_training.model import ADAPTER, TrainingModel

__all__ = ["export_model"]


def export_model(
    model: TrainingModel, folder: Path, *, kind: Literal["merged", "adapter"], files: dict[str, str], rank: int = 0
) -> None:
    """Write weights, tokenizer, spec, sentence-transformers' files and `files`; the folder appears once it is complete.

    Every process calls it, the first one writes. Loading an adapter needs its base, which it names. Raises
    TrainingError for kind "adapter" if all weights were trained.
    """
    weights = {name.removeprefix("backbone."): one for name, one in trained_weights(model.module).items()}
    adapter = getattr(model.module.backbone, "peft_config", {}).get(ADAPTER)
    if kind == "adapter" and adapter is None:
        raise TrainingError("all weights were trained, so there is no adapter to export; want kind='merged'")
    if rank != 0:
        return
    with replacing_folder(folder) as aside:
        if adapter is not None:
            _write_adapter(model, adapter, weights, aside)
        if kind == "merged":
            _write_merged(model, weights, aside, adapted=adapter is not None)
        _write_tokenizer(model, aside)
        write_sentence_transformers_files(model.spec, aside)
        spec = replace(model.spec, model=folder.name, revision=None, adapter=None, weights=None, dtype="float32")
        for name, text in {"spec.json": spec.to_json(), **files}.items():
            (aside / name).write_text(text, encoding="utf-8")


def _write_merged(model: TrainingModel, weights: dict[str, Tensor], folder: Path, *, adapted: bool) -> None:
    """Write the base with the trained weights; an adapter in the folder is merged and its files are deleted."""
    settings = EncoderSettings(
        model=model.spec.model,
        revision=model.spec.revision,
        adapter=str(folder) if adapted else None,
        device="cpu",
        dtype=str(model.module.backbone.dtype).removeprefix("torch."),
    )
    backbone = load_model(settings).backbone
    if adapted:
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            (folder / name).unlink()
    else:
        backbone.load_state_dict(weights, strict=False)
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        backbone.save_pretrained(folder)
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _write_adapter(model: TrainingModel, config: Any, weights: dict[str, Tensor], folder: Path) -> None:
    """Write PEFT's format: adapter_config.json and adapter_model.safetensors."""
    base, local = model.spec.model, find_model(model.spec.model, revision=model.spec.revision)
    named = copy(config)
    by_name = base in OWN_MODELS or ("/" in base and not Path(base).expanduser().is_dir())
    named.base_model_name_or_path = base if by_name else str(local.resolve())
    named.revision, named.inference_mode = model.spec.revision, True
    if isinstance(named.target_modules, set):
        named.target_modules = sorted(named.target_modules)  # the same file from every process
    named.save_pretrained(str(folder))
    plain = {f"base_model.model.{name.replace(f'.{ADAPTER}.', '.')}": one for name, one in weights.items()}
    save_file(plain, folder / ADAPTER_WEIGHTS)


def _write_tokenizer(model: TrainingModel, folder: Path) -> None:
    from transformers import AutoTokenizer

    source = read_folder(model.folder).transformer_folder
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(folder)
