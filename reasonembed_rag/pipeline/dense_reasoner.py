"""Dense reasoner: a small network from a query's vector towards that of its reasoning, without a chat model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError, ModelError, SpecMismatchError
from reasonembed_rag.files import record_from, replacing, write_text
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["DenseReasoner", "ReasonerLayers", "ReasoningEmbedder", "check_space"]

_FORMAT = 1
_ABOUT = "reasoner.json"
_GELU = float(np.sqrt(2.0 / np.pi)), 0.044715
"""The constants of GELU's approximation by tanh, which training uses too."""


@dataclass(frozen=True, slots=True, eq=False)
class ReasonerLayers:
    """The weights of an MLP d -> 4d -> d, float32; raises InputError for other shapes and numbers not finite."""

    first_weight: NDArray[np.float32]
    """(4d, d)"""
    first_bias: NDArray[np.float32]
    """(4d,)"""
    second_weight: NDArray[np.float32]
    """(d, 4d)"""
    second_bias: NDArray[np.float32]
    """(d,)"""

    def __post_init__(self) -> None:
        d = len(self.second_bias)
        shapes = {
            "first_weight": (4 * d, d), "first_bias": (4 * d,), "second_weight": (d, 4 * d), "second_bias": (d,)
        }  # fmt: skip
        for name, wanted in shapes.items():
            tensor = getattr(self, name)
            if tensor.shape != wanted or tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                raise InputError(
                    f"{name} has shape {tensor.shape} and type {tensor.dtype}; want {wanted} of finite float32"
                )

    def fingerprint(self) -> str:
        """Return 32 hexadecimal digits that change with any weight."""
        digest = hashlib.blake2b(digest_size=16)
        for field in fields(self):
            digest.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _About:
    """What reasoner.json holds."""

    format: int
    dimension: int
    space: str
    model: str
    weights: str | None
    """The fingerprint of the weights, by which their file is named; None for the identity."""


@dataclass(frozen=True, eq=False)
class DenseReasoner:
    """Map the vectors of queries of one model towards those of their reasoning queries.

    e becomes (e + MLP(e)) / |e + MLP(e)|; without layers it stays as it is. After AdaQR's dense reasoner (arXiv
    2510.21727), whose details are not published.
    """

    dimension: int
    space: str
    """EmbeddingSpec.space() of the model that it was trained on."""
    model: str
    layers: ReasonerLayers | None = None

    @classmethod
    def identity(cls, spec: EmbeddingSpec) -> Self:
        """Return the reasoner of a model that changes nothing; raises InputError for vectors not of length 1."""
        if not spec.normalize:
            raise InputError(f"{spec.model} gives vectors of any length; a dense reasoner wants them normalised")
        return cls(spec.dimension, spec.space(), spec.model)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises ModelError for a folder that holds none, or a damaged one."""
        path = folder / _ABOUT
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ModelError(f"{path}: no such file; want a folder that `reasonembed train reasoner` wrote") from error
        except (OSError, ValueError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); train the reasoner again") from error
        about = record_from(_About, table, where=str(path), error=ModelError)
        if about.format != _FORMAT:
            raise ModelError(f"{path}: has format {about.format}, this version reads {_FORMAT}; train it again")
        layers = None if about.weights is None else _read_layers(folder / _file_of(about.weights), about)
        return cls(about.dimension, about.space, about.model, layers)

    def save(self, folder: Path) -> None:
        """Write the folder; one that was there is replaced, whole or not at all. Raises InputError where it cannot."""
        about = _About(_FORMAT, self.dimension, self.space, self.model, self.fingerprint)
        if self.layers is not None and about.weights is not None:
            _write_layers(self.layers, folder / _file_of(about.weights))
        write_text(json.dumps(asdict(about), indent=2) + "\n", folder / _ABOUT)
        for old in folder.glob(_file_of("*")):
            if about.weights is None or old.name != _file_of(about.weights):
                with suppress(OSError):  # another process may read it still; it is no part of the reasoner any more
                    old.unlink()

    @cached_property
    def fingerprint(self) -> str | None:
        """32 hexadecimal digits of the weights, None for the identity."""
        return None if self.layers is None else self.layers.fingerprint()

    def mapped(self, vectors_ND: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vectors (n, d) of queries as those of their reasoning; a zero vector stays zero."""
        if vectors_ND.ndim != 2 or vectors_ND.shape[1] != self.dimension:
            raise InputError(f"got vectors of shape {vectors_ND.shape}; want (n, {self.dimension})")
        if self.layers is None or not len(vectors_ND):
            return vectors_ND
        hidden_NH = _gelu(vectors_ND @ self.layers.first_weight.T + self.layers.first_bias)
        moved_ND: NDArray[np.float32] = vectors_ND + hidden_NH @ self.layers.second_weight.T + self.layers.second_bias
        moved_ND[~vectors_ND.any(axis=1)] = 0.0
        lengths_N1 = np.linalg.norm(moved_ND, axis=1, keepdims=True)
        moved_ND /= np.where(lengths_N1 > 0, lengths_N1, np.float32(1.0))
        return moved_ND


class ReasoningEmbedder:
    """An embedder whose queries go through a dense reasoner; documents, and indexes of them, stay as they are.

    Raises SpecMismatchError for a reasoner of another model.
    """

    def __init__(self, embedder: Embedder, reasoner: DenseReasoner) -> None:
        check_space(reasoner, embedder.spec)
        self._embedder = embedder
        self.reasoner = reasoner

    @property
    def spec(self) -> EmbeddingSpec:
        """The embedder's spec, with the reasoner in it."""
        return replace(self._embedder.spec, query_map=self.reasoner.fingerprint)

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries after the reasoner, in input order."""
        vectors = self._embedder.encode_queries(texts, task=task, instruction=instruction, show_progress=show_progress)
        return self.reasoner.mapped(vectors)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return the embedder's float32 vectors (n, dimension) of documents, in input order."""
        return self._embedder.encode_documents(texts, show_progress=show_progress)


def check_space(reasoner: DenseReasoner, spec: EmbeddingSpec) -> None:
    """Raise SpecMismatchError for a reasoner of another model than that of some vectors."""
    if (reasoner.space, reasoner.dimension) != (spec.space(), spec.dimension):
        raise SpecMismatchError(
            f"the dense reasoner belongs to vectors of {reasoner.model}, dimension {reasoner.dimension}, and these are "
            f"of {spec.model}, dimension {spec.dimension}; train one for this model"
        )


def _gelu(values: NDArray[np.float32]) -> NDArray[np.float32]:
    root, cubic = _GELU
    inner = np.float32(root) * (values + np.float32(cubic) * values * values * values)
    return np.asarray(np.float32(0.5) * values * (np.float32(1.0) + np.tanh(inner)), dtype=np.float32)


def _file_of(weights: str) -> str:
    """Return the name of the weights' file: with the fingerprint in it, reasoner.json always names a whole one."""
    return f"reasoner-{weights}.safetensors"


def _read_layers(path: Path, about: _About) -> ReasonerLayers:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        layers = ReasonerLayers(**load_file(path))
    except (OSError, SafetensorError, TypeError, InputError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the whole folder, or train it again") from error
    if layers.fingerprint() != about.weights or len(layers.second_bias) != about.dimension:
        raise ModelError(f"{path}: its weights are not those of {_ABOUT}; copy the whole folder, or train it again")
    return layers


def _write_layers(layers: ReasonerLayers, path: Path) -> None:
    from safetensors.numpy import save

    tensors = {field.name: np.ascontiguousarray(getattr(layers, field.name)) for field in fields(layers)}
    try:
        with replacing(path) as file:
            file.write(save(tensors))
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error
