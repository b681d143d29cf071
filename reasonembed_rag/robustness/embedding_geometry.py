"""Geometry of embedding vectors: a diagnostic, never a training target.

Optimising these figures did not make a retriever more robust (arXiv 2604.16576); they explain, but do not select.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.encoder import EncodingProgress, encode_corpus
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import RetrievalTask
from reasonembed_rag.protocols import Embedder

__all__ = ["Geometry", "alignment", "geometry", "task_geometry"]

_BLOCK = 1024
_PAIRS_FROM = 4096
"""Pairs are taken of at most this number of vectors."""
_FORMS = {
    "vectors": "{:,}",
    "dimension": "{:,}",
    "average_cosine": "{:.4f}",
    "isoscore": "{:.4f}",
    "effective_rank": "{:.1f}",
    "uniformity": "{:.3f}",
    "hubness": "{:.2f}",
    "alignment": "{:.3f}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Figures of a set of vectors scaled to unit length."""

    vectors: int
    dimension: int
    average_cosine: float
    """Mean cosine of distinct pairs: 0 for evenly spread directions, 1 for a single direction."""
    isoscore: float
    """1 for equal variance along all axes, 0 for variance along a single one (Rudman et al. 2022)."""
    effective_rank: float
    """exp of the entropy of the singular values' shares (Roy and Vetterli 2007)."""
    uniformity: float
    """log of the mean of exp(-2 d^2) over distinct pairs; lower is more uniform (Wang and Isola 2020)."""
    hubness: float
    """Skewness of the number of times a vector is among the nearest of another (Radovanovic et al. 2010)."""
    hubness_k: int
    pairs_from: int
    """Number of vectors used for uniformity and hubness: all, or a seeded sample."""
    alignment: float | None = None
    """Mean squared distance of positives; lower is closer (Wang and Isola 2020). None without positives."""

    def figures(self) -> dict[str, str]:
        """Return the figures as text by their names in words; empty for one that was not measured."""
        values = [(name, form, getattr(self, name)) for name, form in _FORMS.items()]
        return {name.replace("_", " "): "" if value is None else form.format(value) for name, form, value in values}


def geometry(
    vectors: NDArray[np.floating[Any]],
    positives: tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]] | None = None,
    *,
    k: int = 10,
    seed: int = 0,
) -> Geometry:
    """Return the figures of vectors (N, D), and the alignment of positives, two arrays (P, D) paired by row.

    Sums are in float64; average cosine and IsoScore have closed forms. Uniformity and hubness use the pairs of all
    vectors, or of a sample of 4,096. Raises InputError for fewer than 2 vectors, a single dimension, numbers that are
    not finite, vectors of length 0, and k < 1.
    """
    if k < 1:
        raise InputError(f"k is {k}; want at least 1 neighbour")
    unit_ND = _unit(vectors)
    count, dimension = unit_ND.shape
    sample = unit_ND
    if count > _PAIRS_FROM:
        sample = unit_ND[np.sort(np.random.default_rng(seed).choice(count, _PAIRS_FROM, replace=False))]
    uniformity, hubness = _pairwise(sample, min(k, len(sample) - 1))
    return Geometry(
        vectors=count,
        dimension=dimension,
        average_cosine=_average_cosine(unit_ND),
        isoscore=_isoscore(unit_ND),
        effective_rank=_effective_rank(unit_ND),
        uniformity=uniformity,
        hubness=hubness,
        hubness_k=min(k, len(sample) - 1),
        pairs_from=len(sample),
        alignment=alignment(*positives) if positives is not None else None,
    )


def alignment(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Return the mean squared distance of two arrays (P, D) paired by row, scaled to unit length.

    Raises InputError for other shapes, non-finite numbers and vectors of length 0.
    """
    if first.shape != second.shape or not len(first):
        raise InputError(f"got positives of shapes {first.shape} and {second.shape}; want (P, D) twice, P at least 1")
    apart_PD = _unit(first, least=1) - _unit(second, least=1)
    return float(np.mean(np.sum(apart_PD * apart_PD, axis=1)))


def _average_cosine(unit_ND: NDArray[np.float64]) -> float:
    """(N^2 |mu|^2 - N) / (N (N - 1)), mu the mean."""
    count = len(unit_ND)
    total_D = unit_ND.sum(axis=0)
    return float((total_D @ total_D - count) / (count * (count - 1)))


def _isoscore(unit_ND: NDArray[np.float64]) -> float:
    """(PR - 1) / (D - 1), PR = (tr C)^2 / tr(C^2), C the covariance; 0 if all vectors are equal."""
    centred_ND = unit_ND - unit_ND.mean(axis=0)
    covariance_DD = centred_ND.T @ centred_ND / len(unit_ND)
    trace = float(np.trace(covariance_DD))
    squares = float(np.sum(covariance_DD * covariance_DD))
    if trace <= np.finfo(np.float64).eps:
        return 0.0
    return float((trace * trace / squares - 1.0) / (unit_ND.shape[1] - 1))


def _effective_rank(unit_ND: NDArray[np.float64]) -> float:
    """exp(-sum p log p), p the singular values over their sum; QR factors of blocks keep the precision."""
    factor: NDArray[np.float64] = np.empty((0, unit_ND.shape[1]))
    for block in _blocks(unit_ND):
        factor = np.asarray(np.linalg.qr(np.concatenate([factor, block]), mode="r"))
    values = np.linalg.svd(factor, compute_uv=False)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _pairwise(unit_ND: NDArray[np.float64], k: int) -> tuple[float, float]:
    """Return log mean exp(-2 d^2) over distinct pairs, and the skewness of the nearest-neighbour counts."""
    count = len(unit_ND)
    total = 0.0
    times_N = np.zeros(count)
    for start, block in zip(range(0, count, _BLOCK), _blocks(unit_ND), strict=True):
        cosines_BN = block @ unit_ND.T
        own = np.arange(len(block))
        cosines_BN[own, start + own] = -np.inf
        total += float(np.exp(4.0 * (cosines_BN - 1.0)).sum())  # d^2 = 2 - 2 cos of unit vectors; exp(-inf) is 0
        nearest = np.argpartition(-cosines_BN, k - 1, axis=1)[:, :k]
        times_N += np.bincount(nearest.ravel(), minlength=count)
    apart_N = times_N - times_N.mean()
    spread = float(np.sqrt(np.mean(apart_N**2)))
    skewness = float(np.mean(apart_N**3)) / spread**3 if spread else 0.0
    return float(np.log(total / (count * (count - 1)))), skewness


def _blocks(unit_ND: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(unit_ND), _BLOCK):
        yield unit_ND[start : start + _BLOCK]


def _unit(vectors: NDArray[np.floating[Any]], *, least: int = 2) -> NDArray[np.float64]:
    """Return the vectors scaled to unit length in float64; raises InputError where that is impossible."""
    if vectors.ndim != 2 or len(vectors) < least or vectors.shape[1] < 2:
        raise InputError(f"got vectors of shape {vectors.shape}; want (N, D), N at least {least} and D at least 2")
    wide_ND = vectors.astype(np.float64)
    lengths_N = np.linalg.norm(wide_ND, axis=1)
    invalid = np.flatnonzero(~np.isfinite(lengths_N) | (lengths_N == 0.0))
    if len(invalid):
        raise InputError(f"vector {invalid[0]} has length {lengths_N[invalid[0]]}; want finite numbers, not all 0")
    wide_ND /= lengths_N[:, None]
    return wide_ND


_MOST_DOCUMENTS = 20_000
"""More documents are sampled with a seed; bounds the memory."""


def task_geometry(
    embedder: Embedder,
    task: RetrievalTask,
    *,
    cache: Path | None = None,
    progress: EncodingProgress | None = None,
    seed: int = 0,
) -> dict[str, Geometry]:
    """Return the geometry of a task's documents and, for two queries or more, of its queries with their alignment.

    Alignment is between queries and their gold documents. Queries get the instruction of the task's card if the model
    takes one. The documents' vectors are read from the cache folder, if one is given. Raises InputError for fewer than
    two documents.
    """
    shards = encode_corpus(embedder, task.documents, cache=cache, progress=progress)
    found = {"documents": geometry(_rows(shards, _sample(len(task.documents), seed)), seed=seed)}
    if len(task.examples) < 2:
        return found
    instruction = task.card.instruction if task.card and embedder.spec.takes_instruction else None
    queries_QD = embedder.encode_queries([example.query for example in task.examples], instruction=instruction)
    row_of = {document.id: row for row, document in enumerate(task.documents)}
    pairs = [
        (number, row_of[identity])
        for number, example in enumerate(task.examples)
        for identity in example.gold_ids
        if identity in row_of
    ]
    positives = None
    if pairs:
        query_rows, gold_rows = np.asarray(pairs, dtype=np.int64).T
        positives = (queries_QD[query_rows], _rows(shards, gold_rows))
    return {**found, "queries": geometry(queries_QD, positives, seed=seed)}


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    if count <= _MOST_DOCUMENTS:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, _MOST_DOCUMENTS, replace=False))


def _rows(shards: list[NDArray[np.float32]], rows_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of the concatenated shards, read shard by shard."""
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    taken = np.empty((len(rows_N), shards[0].shape[1]), dtype=np.float32)
    for start, stop, shard in zip(starts, starts[1:], shards, strict=False):
        of_shard = (rows_N >= start) & (rows_N < stop)
        taken[of_shard] = shard[rows_N[of_shard] - start]
    return taken
