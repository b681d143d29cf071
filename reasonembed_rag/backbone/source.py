"""Where a model's files are and what they say, before its weights are read."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasonembed_rag.backbone.checksums import file_digest
from reasonembed_rag.backbone.hub import find_model
from reasonembed_rag.backbone.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_base, add_lora
from reasonembed_rag.backbone.model_files import read_bare_folder, read_folder, transformer_folder
from reasonembed_rag.backbone.resolve_spec import resolve_spec
from reasonembed_rag.backbone.tensors import read_tensors, weight_files
from reasonembed_rag.backbone.tokenizer import TextTokenizer
from reasonembed_rag.backbone.tokenizer_files import load_saved_tokenizer
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.backbone.model_files import FolderFacts
    from reasonembed_rag.backbone.settings import EncoderSettings
    from reasonembed_rag.backbone.tokenizer_files import SavedTokenizer
    from reasonembed_rag.spec import Backend, EmbeddingSpec, Pooling

__all__ = ["ModelSource", "find_bare_source", "find_source", "load_tokenizer", "read_spec"]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """The files of a model: its backbone's folder, the adapters to merge, in order, and what the files say."""

    settings: EncoderSettings
    folder: Path
    merged: tuple[Path, ...]
    facts: FolderFacts

    def spec(self, *, dtype: str, backend: Backend = "torch", adapter: tuple[str, Path] | None = None) -> EmbeddingSpec:
        """Return the spec of the model in a number format; `adapter` is the name and folder of one chosen per call."""
        folders = [self.folder, *self.merged, *([adapter[1]] if adapter else [])]
        spec = resolve_spec(self.settings, self.facts, folders=folders, dtype=dtype)
        asked = dict(self.settings.adapters)[adapter[0]] if adapter else spec.adapter
        return dataclasses.replace(spec, backend=backend, adapter=asked)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights by their names in the files, with the adapters merged; without torch."""
        tensors = read_tensors(self.facts.transformer_folder)
        for folder in self.merged:
            tensors = add_lora(tensors, folder)
        return tensors

    def digest(self) -> str:
        """Return 32 hexadecimal digits that change with any weight, adapter or setting of config.json."""
        weights = weight_files(self.facts.transformer_folder)
        small = [self.facts.transformer_folder / "config.json", *(folder / ADAPTER_CONFIG for folder in self.merged)]
        adapters = [folder / ADAPTER_WEIGHTS for folder in self.merged]
        parts = [file_digest(path) for path in (*weights, *adapters, *small)]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

    def tokenizer(self, *, append_eos: bool, vocabulary_size: int | None) -> tuple[TextTokenizer, int]:
        """Return the tokenizer and the padding id; raises ModelError where its ids reach beyond the vocabulary."""
        saved = load_saved_tokenizer(self.facts.transformer_folder)
        return _text_tokenizer(saved, append_eos=append_eos, vocabulary_size=vocabulary_size), saved.pad_id


def find_source(settings: EncoderSettings, *, weights: bool = True) -> ModelSource:
    """Return the files of the model that settings name, downloaded once; without `weights` these are not needed.

    Raises ModelError for a folder that is not a model or lacks weights.
    """
    folder, merged = _with_base(settings.model, revision=settings.revision, weights=weights)
    if settings.adapter is not None:
        merged.append(find_model(settings.adapter, weights=weights))
    return ModelSource(settings, folder, tuple(merged), read_folder(folder, weights=weights))


def find_bare_source(settings: EncoderSettings, *, pooling: Pooling, pairs: bool = False) -> ModelSource:
    """Return the files of a model of whose transformer only the states are wanted; see read_bare_folder.

    Raises ModelError for a folder that is not a model or lacks weights.
    """
    folder = find_model(settings.model, revision=settings.revision)
    return ModelSource(settings, folder, (), read_bare_folder(folder, pooling=pooling, pairs=pairs))


def read_spec(settings: EncoderSettings) -> EmbeddingSpec:
    """Return what load_model's spec says of texts (templates, lengths) without reading or downloading weights."""
    return find_source(settings, weights=False).spec(dtype="float32")


def load_tokenizer(name_or_path: str, *, append_eos: bool, revision: str | None = None) -> TextTokenizer:
    """Return the tokenizer of a model without loading weights; raises ModelError if there is none."""
    folder = transformer_folder(_with_base(name_or_path, revision=revision, weights=False)[0])
    return _text_tokenizer(load_saved_tokenizer(folder), append_eos=append_eos, vocabulary_size=None)


def _text_tokenizer(saved: SavedTokenizer, *, append_eos: bool, vocabulary_size: int | None) -> TextTokenizer:
    return TextTokenizer(saved.backend, eos_id=saved.eos_id, append_eos=append_eos, vocabulary_size=vocabulary_size)


def _with_base(name_or_path: str, *, revision: str | None = None, weights: bool = True) -> tuple[Path, list[Path]]:
    """Return the folder of a model's backbone and, if the model is an adapter, those of its adapters, base first."""
    folder = find_model(name_or_path, revision=revision, weights=weights)
    adapters: list[Path] = []
    while (base := adapter_base(folder)) is not None and not (folder / "config.json").is_file():
        if folder in adapters:
            raise ModelError(f"{folder}: the adapter names itself as its base; want the model that it was trained on")
        adapters.insert(0, folder)
        folder = find_model(base, weights=weights)
    return folder, adapters
