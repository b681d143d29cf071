"""Export a model, its adapters merged, as a folder of another program's layout."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from reasonembed_rag.backbone import find_source, is_decoder, is_natively_bidirectional, read_json
from reasonembed_rag.errors import InputError, MissingDependencyError, ModelError, want_one_of
from reasonembed_rag.export.card import gguf_note, write_card
from reasonembed_rag.export.layout import write_sentence_transformers_files
from reasonembed_rag.export.tokenizer import write_tokenizer
from reasonembed_rag.export.weights import write_weights
from reasonembed_rag.files import replacing_folder
from reasonembed_rag.graph import EncoderWeights, supports, write_standalone

if TYPE_CHECKING:
    import os

    from reasonembed_rag.backbone import EncoderSettings, ModelSource
    from reasonembed_rag.export.weights import ExportDtype
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["ExportKind", "save_model"]

ExportKind = Literal["sentence-transformers", "onnx", "openvino", "gguf-note"]
"""A folder for sentence-transformers; the others add to it a graph or the commands for llama.cpp."""

_WITHOUT_GGUF = {"mpnet", "albert", "electra"}
"""Kinds of models that llama.cpp's converter does not know."""


def save_model(
    settings: EncoderSettings,
    folder: str | os.PathLike[str],
    *,
    kind: ExportKind = "sentence-transformers",
    dtype: ExportDtype = "auto",
    overwrite: bool = False,
) -> None:
    """Write a model and what its vectors depend on as one folder, which appears once it is complete.

    The adapter that the settings name is merged. dtype is the number format of the weights: "auto" keeps that of the
    files, or takes float32 where an adapter is merged. `kind` "onnx" adds onnx/model.onnx, "openvino" adds
    openvino/openvino_model.xml, "gguf-note" adds GGUF.md. Raises InputError for a folder that is not empty, unless it
    is to be overwritten, and for what the layout cannot express; ModelError for a model that the kind does not support.
    """
    to = Path(folder).expanduser()
    _check_folder(to, overwrite=overwrite)
    if kind not in get_args(ExportKind):
        raise InputError(f"kind is {kind!r}; {want_one_of(kind, get_args(ExportKind))}")
    if settings.base_url is not None or settings.adapters:
        raise InputError("a server's model and several adapters cannot be exported; want one model, or one adapter")
    source = find_source(settings)
    spec = source.spec(dtype="float32")
    _check_expressible(spec, source)
    _check_kind(kind, source)
    with replacing_folder(to) as aside:
        written = write_weights(source, aside, dtype=dtype)
        _write_settings(source, spec, aside, dtype=written)
        folders = [source.folder, *source.merged]
        width = _width(source.facts.config)
        write_card(settings, spec, folders, aside, dtype=written, truncated=spec.dimension < width)
        if kind in {"onnx", "openvino"}:
            write_standalone(_weights(source, spec), aside / "onnx" / "model.onnx")
        if kind == "openvino":
            _write_openvino(aside)
        if kind == "gguf-note":
            (aside / "GGUF.md").write_text(gguf_note(spec, to.name), encoding="utf-8")


def _check_folder(folder: Path, *, overwrite: bool) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        if not overwrite:
            raise InputError(f"{folder}: is not empty; want a new folder, or overwrite=True (--overwrite)")
        if not (folder / "modules.json").is_file():
            raise InputError(f"{folder}: is not an exported model, and is not overwritten; choose another folder")
    elif folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; want the name of a folder")


def _check_expressible(spec: EmbeddingSpec, source: ModelSource) -> None:
    """Raise an error for a model that sentence-transformers would run otherwise than it runs here."""
    for name, affixes in (("query", spec.query_affixes(None)), ("document", spec.document_affixes())):
        if affixes[1]:
            raise InputError(
                f"{name}_template has {affixes[1]!r} after the text; prompts of other programs come before"
            )
    config = source.facts.config
    if spec.attention == "bidirectional" and is_decoder(config) and not is_natively_bidirectional(config):
        raise ModelError(
            f"{spec.model}: its attention is bidirectional, and other programs would run {config.get('model_type')!r} "
            "causally; serve it by reasonembed"
        )
    if source.facts.segments:
        raise ModelError(f"{spec.model}: a model of pairs; want an embedding model")


def _check_kind(kind: ExportKind, source: ModelSource) -> None:
    name, config = source.settings.model, source.facts.config
    if kind in {"onnx", "openvino"} and (reason := supports(config)) is not None:
        raise ModelError(
            f"{name}: no graph can be written here ({reason}); export it for sentence-transformers, then "
            "optimum-cli export onnx --task feature-extraction --model FOLDER FOLDER/onnx"
        )
    if kind == "openvino":
        _openvino()
    if kind == "gguf-note" and config.get("model_type") in _WITHOUT_GGUF:
        raise ModelError(f"{name}: llama.cpp has no converter for {config['model_type']!r}; want another format")


def _write_settings(source: ModelSource, spec: EmbeddingSpec, folder: Path, *, dtype: str) -> None:
    transformer = source.facts.transformer_folder
    config = {name: value for name, value in source.facts.config.items() if name != "torch_dtype"}
    config["dtype"] = dtype
    settings = read_json(path) if (path := transformer / "sentence_bert_config.json").is_file() else {}
    write_tokenizer(transformer, spec, folder)
    write_sentence_transformers_files(spec, folder, width=_width(config), lowercase=bool(settings.get("do_lower_case")))
    (folder / "config.json").write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "spec.json").write_text(spec.to_json(), encoding="utf-8")


def _width(config: dict[str, Any]) -> int:
    return int(config.get("hidden_size") or config["dim"])


def _weights(source: ModelSource, spec: EmbeddingSpec) -> EncoderWeights:
    config = source.facts.config
    _, pad_id = source.tokenizer(append_eos=spec.append_eos, vocabulary_size=config.get("vocab_size"))
    whole = dataclasses.replace(spec, backend="onnx", pooling="mean" if spec.pooling == "cls" else spec.pooling)
    return EncoderWeights(
        config=config,
        tensors=source.tensors,
        digest=source.digest(),
        spec=whole,  # for cls pooling alone a graph leaves the states of the other tokens out
        pad_id=pad_id,
        folder=source.folder,
        sample=list,
        typical=list,
    )


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError("openvino", cure="pip install openvino, or export kind 'onnx'") from error
    return openvino


def _write_openvino(folder: Path) -> None:
    openvino = _openvino()
    to = folder / "openvino"
    to.mkdir()
    try:
        model = openvino.Core().read_model(str(folder / "onnx" / "model.onnx"))  # convert_model sends telemetry
        openvino.save_model(model, str(to / "openvino_model.xml"), compress_to_fp16=False)
    except Exception as error:  # OpenVINO's own errors have no common class
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"OpenVINO cannot convert the graph ({reason}); want kind 'onnx'") from error
