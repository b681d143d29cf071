"""Exact top-k search in blocks: the oracle of every index."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError

__all__ = ["Hits", "exact_search"]

_BLOCK_SCORES = 16_000_000
"""Scores held at once: 64 MB of float32."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The documents found for one query, best first: ids and float32 scores of equal length."""

    ids: tuple[str, ...]
    scores: NDArray[np.float32]


def exact_search(
    query_vectors: NDArray[np.float32],
    document_vectors: NDArray[np.float32],
    document_ids: Sequence[str],
    *,
    k: int,
    excluded_ids: Sequence[Collection[str]] | None = None,
) -> list[Hits]:
    """Return the k documents of highest inner product for each query, its excluded ids removed before the cut.

    query_vectors is (Q, D), document_vectors (N, D); excluded_ids has one collection a query, ids unknown to the corpus
    are ignored. Scores are float32; ties go to the larger id, as trec_eval has it. Fewer than k hits come back only
    where fewer documents are left. Raises InputError for shapes that disagree and for k < 1.
    """
    _check(query_vectors, document_vectors, document_ids, k, excluded_ids)
    order = np.argsort(np.asarray(document_ids, dtype=object), kind="stable")[::-1]
    rank_of_id = np.empty(len(order), dtype=np.int64)
    rank_of_id[order] = np.arange(len(order))
    row_of_id = {identity: row for row, identity in enumerate(document_ids)} if excluded_ids is not None else {}
    hits: list[Hits] = []
    block = max(1, _BLOCK_SCORES // max(1, len(document_ids)))
    for start in range(0, len(query_vectors), block):
        scores_QN = query_vectors[start : start + block] @ document_vectors.T
        for offset, scores_N in enumerate(scores_QN):
            banned = excluded_ids[start + offset] if excluded_ids is not None else ()
            rows = [row_of_id[identity] for identity in banned if identity in row_of_id]
            scores_N[rows] = -np.inf
            best = _top(scores_N, rank_of_id, k=min(k, len(document_ids) - len(set(rows))))
            hits.append(Hits(tuple(document_ids[row] for row in best), scores_N[best].astype(np.float32)))
    return hits


def _top(scores_N: NDArray[np.float32], rank_of_id: NDArray[np.int64], *, k: int) -> NDArray[np.int64]:
    """Return the rows of the k best scores in order, ties by rank."""
    if k == 0:
        return np.empty(0, dtype=np.int64)
    worst = np.partition(scores_N, len(scores_N) - k)[len(scores_N) - k]
    rows = np.flatnonzero(scores_N >= worst)
    order = np.lexsort((rank_of_id[rows], -scores_N[rows]))
    return rows[order][:k]


def _check(
    query_vectors: NDArray[np.float32],
    document_vectors: NDArray[np.float32],
    document_ids: Sequence[str],
    k: int,
    excluded_ids: Sequence[Collection[str]] | None,
) -> None:
    shapes = query_vectors.shape, document_vectors.shape
    if not (len(shapes[0]) == len(shapes[1]) == 2 and shapes[0][1] == shapes[1][1]):
        raise InputError(f"want (Q, D) and (N, D), got {shapes[0]} and {shapes[1]}")
    if len(document_ids) != len(document_vectors):
        raise InputError(f"got {len(document_vectors)} document vectors and {len(document_ids)} ids; want one id a row")
    if k < 1:
        raise InputError(f"k is {k}; want at least 1")
    if excluded_ids is not None and len(excluded_ids) != len(query_vectors):
        raise InputError(f"got {len(query_vectors)} queries and {len(excluded_ids)} exclusion lists; want one a query")
    if not (np.isfinite(query_vectors).all() and np.isfinite(document_vectors).all()):
        raise InputError("vectors hold NaN or infinity; want finite numbers: encode the texts again")
