"""Export a trained model as a folder that Encoder.from_pretrained and sentence-transformers both load."""

from __future__ import annotations

import json
import os
import shutil
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor
from transformers.utils import logging as transformers_logging

from reasonembed_rag.backbone import OWN_MODELS, EncoderSettings, find_model, load_model, read_folder
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import flush_folder
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_training.checkpoint import trained_weights
from reasonembed_training.model import ADAPTER, TrainingModel

__all__ = ["ADAPTER_CONFIG", "ADAPTER_WEIGHTS", "export_model", "settle"]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MODULES = "sentence_transformers.models"


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
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    if adapter is not None:
        _write_adapter(model, adapter, weights, aside)
    if kind == "merged":
        _write_merged(model, weights, aside, adapted=adapter is not None)
    _write_tokenizer(model, aside)
    _write_sentence_transformers_files(model.spec, aside)
    spec = replace(model.spec, model=folder.name, revision=None, adapter=None, weights=None, dtype="float32")
    for name, text in {"spec.json": spec.to_json(), **files}.items():
        (aside / name).write_text(text, encoding="utf-8")
    settle(aside, folder)


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


def _write_sentence_transformers_files(spec: EmbeddingSpec, folder: Path) -> None:
    kinds = ["Transformer", "Pooling", *(["Normalize"] if spec.normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    pooling = {
        "word_embedding_dimension": spec.dimension,
        **{f"pooling_mode_{mode}": False for mode in ("cls_token", "max_tokens", "mean_sqrt_len_tokens")},
        "pooling_mode_cls_token": spec.pooling == "cls",
        "pooling_mode_mean_tokens": spec.pooling == "mean",
        "pooling_mode_lasttoken": spec.pooling == "last",
        "include_prompt": spec.pool_prompt,
    }
    query, _ = spec.query_affixes(None)
    document, _ = spec.document_affixes()
    contents = {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {
            "max_seq_length": max(spec.max_query_length, spec.max_document_length),
            "do_lower_case": False,
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": query, "document": document},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine" if spec.normalize else "dot",
        },
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def settle(aside: Path, folder: Path) -> None:
    """Flush the finished folder to disk and rename it; its weights get the permissions of its other files."""
    for path in aside.rglob("*.safetensors"):
        shutil.copymode(next(aside.glob("*.json")), path)  # safetensors creates private files
    for path in aside.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            flush_folder(path)
    flush_folder(aside)
    shutil.rmtree(folder, ignore_errors=True)
    aside.replace(folder)
    flush_folder(folder.parent)
