"""Exact top-k search in blocks: the oracle of every index."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits

__all__ = ["contenders", "exact_scores", "exact_search"]

_BLOCK_SCORES = 16_000_000
"""Scores held at once: 64 MB of float32."""

_ROUNDING = 1e-5
"""Bounds the error of a float32 product of unit vectors: BLAS sums in an order that depends on where a row stands."""


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
    are ignored. Scores are float32, rounded from float64, so that equal vectors have equal scores wherever they stand;
    ties go to the larger id, as trec_eval has it. Fewer than k hits come back only where fewer documents are left.
    Raises InputError for shapes that disagree and for k < 1.
    """
    _check(query_vectors, document_vectors, document_ids, k, excluded_ids)
    order = np.argsort(np.asarray(document_ids, dtype=object), kind="stable")[::-1]
    rank_of_id = np.empty(len(order), dtype=np.int64)
    rank_of_id[order] = np.arange(len(order))
    row_of_id = {identity: row for row, identity in enumerate(document_ids)} if excluded_ids is not None else {}
    hits: list[Hits] = []
    longest = float(np.sqrt(np.einsum("nd,nd->n", document_vectors, document_vectors).max(initial=0.0)))
    block = max(1, _BLOCK_SCORES // max(1, len(document_ids)))
    for start in range(0, len(query_vectors), block):
        scores_QN = query_vectors[start : start + block] @ document_vectors.T
        for offset, scores_N in enumerate(scores_QN):
            banned = excluded_ids[start + offset] if excluded_ids is not None else ()
            rows = [row_of_id[identity] for identity in banned if identity in row_of_id]
            scores_N[rows] = -np.inf
            query_D = query_vectors[start + offset]
            left = min(k, len(document_ids) - len(set(rows)))
            found = contenders(scores_N, left, length=longest * float(np.linalg.norm(query_D)))
            exact = exact_scores(query_D, document_vectors[found])
            best = np.lexsort((rank_of_id[found], -exact))[:left]
            hits.append(Hits(tuple(document_ids[row] for row in found[best]), exact[best]))
    return hits


def contenders(scores_N: NDArray[np.float32], k: int, *, length: float = 1.0) -> NDArray[np.int64]:
    """Return the rows that may be among the k best once the rounding of their float32 scores is undone.

    length is the largest product of a query's and a document's norm. k is at most N; rows of -inf never count as best.
    """
    if k == 0:
        return np.empty(0, dtype=np.int64)
    live_N = scores_N[scores_N != -np.inf]  # partition is slow where one number fills most of an array
    worst = np.partition(live_N, len(live_N) - k)[len(live_N) - k]
    return np.flatnonzero(scores_N >= worst - 2 * _ROUNDING * length)


def exact_scores(query_D: NDArray[np.float32], vectors_ND: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return inner products summed in float64 in one order for every row, rounded to float32."""
    products_ND: NDArray[np.float64] = vectors_ND.astype(np.float64)
    products_ND *= query_D
    scores_N: NDArray[np.float64] = np.sum(products_ND, axis=1)
    return scores_N.astype(np.float32)


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
