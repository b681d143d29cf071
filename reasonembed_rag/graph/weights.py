"""What a graph is made from: a model's configuration and weights, by the names in its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["EncoderWeights", "NamedTensors"]

_OLD_ENDINGS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class EncoderWeights:
    """A model as its files give it, adapters merged; the tensors are read only where no graph of them is at hand."""

    config: Mapping[str, Any]
    tensors: Callable[[], Mapping[str, NDArray[np.float32]]]
    digest: str
    """Changes with any weight, adapter or setting of config.json."""
    spec: EmbeddingSpec
    pad_id: int
    folder: Path
    sample: Callable[[], Sequence[NDArray[np.int32]]]
    """Returns token ids of texts by the model's tokenizer, on which graphs are checked."""
    typical: Callable[[], Sequence[NDArray[np.int32]]]
    """Returns token ids of texts as users have them, by which weights are rounded."""
    segments: bool = False
    """Whether ids hold token types; see the backbone's SEGMENT."""
    reference: Callable[[Sequence[NDArray[np.int32]]], NDArray[np.float32]] | None = None
    """Returns vectors of such sequences by transformers; None where it is not installed."""


class NamedTensors:
    """Tensors by their names in the backbone, whatever prefix a model with a head puts before them."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]], *, anchor: str, folder: Path) -> None:
        self._tensors = tensors
        self._folder = folder
        found = [name for name in tensors if name.endswith(anchor) and name[: -len(anchor)][-1:] in {"", "."}]
        if not found:
            raise ModelError(f"{folder}: its weights lack {anchor}; want a complete encoder in safetensors")
        self._prefix = found[0].removesuffix(anchor)

    def get(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Return a tensor; raises ModelError where it is missing or has another shape."""
        tensor = self.find(name)
        if tensor is None:
            raise ModelError(f"{self._folder}: its weights lack {self._prefix}{name}; the download is incomplete")
        if tensor.shape != shape:
            raise ModelError(
                f"{self._folder}: {self._prefix}{name} is {tensor.shape}, config.json wants {shape}; "
                "want the files of one checkpoint"
            )
        return tensor

    def find(self, name: str) -> NDArray[np.float32] | None:
        """Return a tensor, or None where the files have none of this name."""
        for current, old in _OLD_ENDINGS.items():
            if name.endswith(current) and self._prefix + name not in self._tensors:
                name = name.removesuffix(current) + old
        return self._tensors.get(self._prefix + name)
