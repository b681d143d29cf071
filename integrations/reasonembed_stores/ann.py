"""ANN indexes of FAISS over the vectors of a store: an HNSW graph, an inverted file, or a scan of float16 vectors.

An ANN index only proposes candidates: their scores are computed from the stored vectors, and vectors added after it was
built are searched exactly. Sizes and kinds follow FAISS's guidelines and measurements on 20,000 vectors of 256
dimensions (recall@10: HNSW32 0.994, IVF,SQ8 0.986).
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import MissingDependencyError, StoreError
from reasonembed_rag.forks import run_in_own_thread
from reasonembed_stores.vectors import Matrix

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["KINDS", "AnnIndex", "build_ann_index", "float16_scan", "kind_for", "read_ann_index", "write_ann_index"]

Kind = Literal["codes", "hnsw", "ivf"]
KINDS = ("auto", "flat", "hnsw", "ivf")
"""What the user of a store chooses from."""
_EXACT_UP_TO = 200_000
_GRAPH_UP_TO = 2_000_000
_LINKS = 32
_BUILD_BREADTH = 80
_SEARCH_BREADTH = 64
_BLOCK = 65_536


def kind_for(asked: str, size: int) -> str:
    """Return flat, hnsw or ivf: the kind asked for, or with auto the one that suits the number of vectors."""
    if asked != "auto":
        return asked
    if size <= _EXACT_UP_TO:
        return "flat"
    return "hnsw" if size <= _GRAPH_UP_TO else "ivf"


class AnnIndex:
    """A FAISS index over the first `covered` positions of one layout; never changed after it is built.

    Its kind "codes" is not approximate: FAISS scans all float16 vectors, faster than numpy does.
    """

    __slots__ = ("_faiss", "_index", "kind")

    def __init__(self, index: Any, kind: Kind) -> None:
        self._faiss = _faiss()
        self._index = index
        self.kind = kind

    @property
    def covered(self) -> int:
        """The number of vectors in the index."""
        return int(self._index.ntotal)

    def nearest(
        self, queries_QD: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return approximately the k best scores and positions (Q, k) among the allowed ones; -1 means no result."""
        selector, bits = None, None
        if allowed is not None:
            bits = np.packbits(allowed[: self.covered], bitorder="little")
            selector = self._faiss.IDSelectorBitmap(bits)
        parameters = self._parameters(k, selector)
        search = partial(self._index.search, queries_QD, min(k, self.covered), params=parameters)
        scores_QK, positions_QK = run_in_own_thread(search)
        del bits  # must outlive the selector, which points into it
        return scores_QK, positions_QK

    def _parameters(self, k: int, selector: Any) -> Any:
        if self.kind == "hnsw":
            return self._faiss.SearchParametersHNSW(efSearch=max(_SEARCH_BREADTH, 2 * k), sel=selector)
        if self.kind == "ivf":
            return self._faiss.SearchParametersIVF(nprobe=max(8, self._index.nlist // 16), sel=selector)
        return self._faiss.SearchParameters(sel=selector)


def float16_scan(matrix: Matrix) -> AnnIndex:
    """Return an index that scans rows of float16 as they are."""
    faiss = _faiss()
    index = faiss.IndexScalarQuantizer(matrix.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index.train(
        np.zeros((1, matrix.shape[1]), dtype=np.float32)
    )  # required, but learns nothing: the codes are the numbers
    faiss.copy_array_to_vector(np.ascontiguousarray(matrix).view(np.uint8).ravel(), index.codes)
    index.ntotal = len(matrix)
    return AnnIndex(index, "codes")


def build_ann_index(matrix: Matrix, kind: str) -> AnnIndex:
    """Build a graph (hnsw) or an inverted file (ivf); takes minutes for hundreds of thousands of vectors.

    A graph of float16 vectors needs room for them in float32 meanwhile.
    """
    return run_in_own_thread(partial(_built, matrix, kind))


def _built(matrix: Matrix, kind: str) -> AnnIndex:
    faiss = _faiss()
    size, dimension = matrix.shape
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _BUILD_BREADTH
        index.train(np.zeros((1, dimension), dtype=np.float32))
    else:
        lists = max(1, min(int(4 * size**0.5), size // 39))  # FAISS wants 39 training vectors per list
        index = faiss.index_factory(dimension, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        sample = np.random.default_rng(0).choice(size, min(size, 64 * lists), replace=False)
        index.train(matrix[np.sort(sample)].astype(np.float32))
    # A graph whose rows come at once begins with those of its upper levels: in parts, a million lose .05 of recall.
    block = max(size, 1) if kind == "hnsw" else _BLOCK
    for start in range(0, size, block):
        index.add(np.ascontiguousarray(matrix[start : start + block], dtype=np.float32))
    return AnnIndex(index, "hnsw" if kind == "hnsw" else "ivf")


def write_ann_index(index: AnnIndex, path: Path) -> None:
    """Write an index to a temporary file, flush and rename it; raises StoreError where that fails."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        index._faiss.write_index(index._index, str(aside))  # noqa: SLF001 - the same module
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, RuntimeError) as error:
        aside.unlink(missing_ok=True)
        raise StoreError(
            f"{path} cannot be written ({error}); nothing was changed: make room or give access"
        ) from error


def read_ann_index(path: Path) -> AnnIndex:
    """Read an index whose checksum was verified already; raises StoreError for what FAISS cannot read."""
    faiss = _faiss()
    try:
        index = faiss.read_index(str(path))  # has its own class already; a second cast would free it
    except RuntimeError as error:
        raise StoreError(f"{path} cannot be read ({error}); save the store again to rebuild it") from error
    kinds: dict[str, Kind] = {"IndexHNSWSQ": "hnsw", "IndexIVFScalarQuantizer": "ivf"}
    if type(index).__name__ not in kinds:
        raise StoreError(f"{path} is a {type(index).__name__}, which no store writes; save the store again")
    return AnnIndex(index, kinds[type(index).__name__])


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError("faiss-cpu", "faiss") from error
    module: ModuleType = faiss
    return module
