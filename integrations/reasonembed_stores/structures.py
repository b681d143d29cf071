"""Search structures of FAISS over the vectors of a store: half-precision codes, a graph, or an inverted file.

A structure only proposes candidates; their scores are computed from the stored vectors, and vectors that came after
the structure was built are searched exactly. Sizes and kinds follow FAISS's guidelines and measurements on 20,000
vectors of 256 dimensions (recall@10: HNSW32 0.994, IVF,SQ8 0.986).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import MissingDependencyError, StoreError
from reasonembed_stores.vectors import Matrix

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["KINDS", "Structure", "build_structure", "code_structure", "kind_for", "read_structure", "write_structure"]

Kind = Literal["codes", "hnsw", "ivf"]
KINDS = ("auto", "flat", "hnsw", "ivf")
"""What a store may be asked for."""
_EXACT_UP_TO = 200_000
_GRAPH_UP_TO = 2_000_000
_LINKS = 32
_BUILD_BREADTH = 80
_SEARCH_BREADTH = 64
_BLOCK = 65_536


def kind_for(asked: str, size: int) -> str:
    """Return flat, hnsw or ivf: what was asked for, or what the number of vectors calls for."""
    if asked != "auto":
        return asked
    if size <= _EXACT_UP_TO:
        return "flat"
    return "hnsw" if size <= _GRAPH_UP_TO else "ivf"


class Structure:
    """A FAISS index over the first `covered` slots of one layout; never changed once it is built."""

    __slots__ = ("_faiss", "_index", "kind")

    def __init__(self, index: Any, kind: Kind) -> None:
        self._faiss = _faiss()
        self._index = index
        self.kind = kind

    @property
    def covered(self) -> int:
        """How many slots the structure knows."""
        return int(self._index.ntotal)

    def nearest(
        self, queries_QD: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return about the k best scores and slots (Q, k) among the allowed ones; the slot -1 stands for none."""
        selector, bits = None, None
        if allowed is not None:
            bits = np.packbits(allowed[: self.covered], bitorder="little")
            selector = self._faiss.IDSelectorBitmap(bits)
        scores_QK, slots_QK = self._index.search(queries_QD, min(k, self.covered), params=self._parameters(k, selector))
        del bits  # lived as long as the selector that points into it
        return scores_QK, slots_QK

    def _parameters(self, k: int, selector: Any) -> Any:
        if self.kind == "hnsw":
            return self._faiss.SearchParametersHNSW(efSearch=max(_SEARCH_BREADTH, 2 * k), sel=selector)
        if self.kind == "ivf":
            return self._faiss.SearchParametersIVF(nprobe=max(8, self._index.nlist // 16), sel=selector)
        return self._faiss.SearchParameters(sel=selector)


def code_structure(matrix: Matrix) -> Structure:
    """Give FAISS rows of float16 to search as they are."""
    faiss = _faiss()
    index = faiss.IndexScalarQuantizer(matrix.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, matrix.shape[1]), dtype=np.float32))  # learns nothing: the codes are the numbers
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix).view(np.uint8).ravel(), index.codes)
    index.ntotal = len(matrix)
    return Structure(index, "codes")


def build_structure(matrix: Matrix, kind: str) -> Structure:
    """Build a graph (hnsw) or an inverted file (ivf); takes minutes for hundreds of thousands of vectors."""
    faiss = _faiss()
    size, dimension = matrix.shape
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BUILD_BREADTH
        index.train(np.zeros((1, dimension), dtype=np.float32))
    else:
        lists = max(1, min(int(4 * size**0.5), size // 39))  # FAISS wants 39 vectors to learn one list from
        index = faiss.index_factory(dimension, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(size, min(size, 64 * lists), replace=False)
        index.train(matrix[np.sort(sample)].astype(np.float32))
    for start in range(0, size, _BLOCK):
        index.add(np.ascontiguousarray(matrix[start : start + _BLOCK], dtype=np.float32))
    return Structure(index, "hnsw" if kind == "hnsw" else "ivf")


def write_structure(structure: Structure, path: Path) -> None:
    """Write a structure beside its place, flush it and put it there; raises StoreError where the disk refuses."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        structure._faiss.write_index(structure._index, str(aside))  # noqa: SLF001 - the same module
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, RuntimeError) as error:
        aside.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be written ({error}); nothing was changed: make room or give access"
        ) from error


def read_structure(path: Path) -> Structure:
    """Read a structure whose checksum was compared already; raises StoreError for what FAISS cannot read."""
    faiss = _faiss()
    try:
        index = faiss.read_index(str(path))  # of its own class already; a second cast would leave it freed
    except RuntimeError as error:
        raise StoreError(f"{path} cannot be read ({error}); save the store again to build it anew") from error
    kinds: dict[str, Kind] = {"IndexHNSWSQ": "hnsw", "IndexIVFScalarQuantizer": "ivf"}
    if type(index).__name__ not in kinds:
        raise StoreError(f"{path} is a {type(index).__name__}, which no store writes; save the store again")
    return Structure(index, kinds[type(index).__name__])


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError("faiss-cpu", "faiss") from error
    module: ModuleType = faiss
    return module
