"""Maximal marginal relevance (MMR): documents that are near the query and unlike each other.

Carbonell and Goldstein, SIGIR 1998: each pick maximises balance * sim(query, d) - (1 - balance) * max sim(d, picked).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores.checks import check_k, check_vectors
from reasonembed_stores.filters import FilterLike
from reasonembed_stores.store import Store

__all__ = ["search_mmr", "select_mmr"]


def search_mmr(
    store: Store,
    query_vectors: NDArray[Any],
    *,
    k: int,
    fetch_k: int = 20,
    balance: float = 0.5,
    filters: FilterLike | None = None,
    ids: Collection[str] | None = None,
    excluded_ids: Sequence[Collection[str]] | None = None,
) -> list[Hits]:
    """Return for each query k of its fetch_k best documents, in the order of selection.

    balance runs from 0, variety alone, to 1, relevance alone. Raises InputError for others, and as search does.
    """
    if not 0.0 <= balance <= 1.0:
        raise InputError(f"balance is {balance}; want a number from 0 (variety) to 1 (relevance)")
    check_k(k)
    check_k(fetch_k)
    rows = store.search(query_vectors, k=max(k, fetch_k), filters=filters, ids=ids, excluded_ids=excluded_ids)
    queries_QD = check_vectors(query_vectors, name="query_vectors", dimension=None)
    picked: list[Hits] = []
    for query_D, hits in zip(queries_QD, rows, strict=True):
        vectors_ND = store.vectors_of(hits.ids)
        picked.append(hits.take(select_mmr(query_D, vectors_ND, k=k, balance=balance)))
    return picked


def select_mmr(query_D: NDArray[np.float32], vectors_ND: NDArray[np.float32], *, k: int, balance: float) -> list[int]:
    """Return the rows of k unit vectors in the order of selection; ties go to the earlier row."""
    relevance_N = vectors_ND @ query_D if len(vectors_ND) else np.empty(0, dtype=np.float32)
    nearest_N = np.full(len(vectors_ND), -np.inf, dtype=np.float32)
    picked: list[int] = []
    gain_N = relevance_N.astype(np.float64)
    while len(picked) < min(k, len(vectors_ND)):
        gain_N[picked] = -np.inf
        picked.append(int(np.argmax(gain_N)))
        nearest_N = np.maximum(nearest_N, vectors_ND @ vectors_ND[picked[-1]])
        gain_N = balance * relevance_N.astype(np.float64) - (1.0 - balance) * nearest_N
    return picked
