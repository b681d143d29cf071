"""Hybrid search: the vectors of a store and the words of its documents, fused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.pipeline import Fusion, Weighted
from reasonembed_rag.retrieval import CallableRetriever
from reasonembed_stores.filters import FilterLike
from reasonembed_stores.lexical import LexicalSearch
from reasonembed_stores.store import Store

__all__ = ["BM25_WEIGHT", "FUSION_DEPTH", "HybridHits", "HybridSearch", "check_bm25_weight", "fused"]

BM25_WEIGHT = 0.25
"""The weight of BM25 that the commands use, chosen on dev sets: docs/experiments/offline-stack.md."""

FUSION_DEPTH = 1000
"""How many documents each of the two lists has before they are fused."""


@dataclass(frozen=True, slots=True)
class HybridHits:
    """What a query found, and in which lists: dense has cosine similarities, bm25 is None where it has no weight."""

    hits: Hits
    dense: Hits
    bm25: Hits | None = None


class HybridSearch:
    """Search a store by vectors, and by BM25 where that has a weight above 0.

    A hit's score is then (1 - weight) x its cosine similarity + weight x its BM25 score, each scaled from 0 to 1 within
    the best 1,000 (or k) of its list, with 0 for what is not in the list: 1 is the best of both lists, and scores of
    different queries cannot be compared. With the weight 0 scores are cosine similarities.
    """

    def __init__(self, store: Store, lexical: LexicalSearch, *, bm25_weight: float) -> None:
        check_bm25_weight(bm25_weight)
        self._store = store
        self._lexical = lexical
        self._weight = bm25_weight

    def search(
        self,
        texts: Sequence[str],
        query_vectors: NDArray[np.floating],
        *,
        k: int,
        filters: FilterLike | None = None,
        ids: Collection[str] | None = None,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[HybridHits]:
        """Return what each query finds, given its text and its vector; restrictions are those of Store.search."""
        store = self._store
        if self._weight == 0.0:
            plain = store.search(query_vectors, k=k, filters=filters, ids=ids, excluded_ids=excluded_ids)
            return [HybridHits(hits, hits) for hits in plain]
        depth = max(k, FUSION_DEPTH)
        dense = store.search(query_vectors, k=depth, filters=filters, ids=ids, excluded_ids=excluded_ids)
        bm25 = self._lexical.search(store, texts, k=depth, filters=filters, ids=ids, excluded_ids=excluded_ids)
        return [
            HybridHits(self._with_documents(fused(*pair, bm25_weight=self._weight, k=k), pair[0]), *pair)
            for pair in zip(dense, bm25, strict=True)
        ]

    def _with_documents(self, hits: Hits, dense: Hits) -> Hits:
        """Return hits with their documents, which the dense list has for most of them."""
        known = dict(zip(dense.ids, dense.documents or (), strict=False))
        known |= {document.id: document for document in self._store.get([one for one in hits.ids if one not in known])}
        return Hits.ranked(Hit(hit.id, hit.score, known[hit.id]) for hit in hits if hit.id in known)


def fused(dense: Hits, bm25: Hits, *, bm25_weight: float, k: int) -> Hits:
    """Return the k best of two lists by the sum of their scores, each scaled from 0 to 1 within its list."""
    lists = [(1.0 - bm25_weight, dense), (bm25_weight, bm25)]
    fusion = Fusion([Weighted(_found(hits), weight) for weight, hits in lists], fusion="scores")
    return fusion.search([""], k=k)[0]


def _found(hits: Hits) -> CallableRetriever:
    return CallableRetriever(lambda _query, _k: Hits(hits.ids, hits.scores))


def check_bm25_weight(weight: float) -> None:
    """Raise InputError for a weight that is not from 0 to below 1."""
    if not 0.0 <= weight < 1.0:
        raise InputError(f"bm25_weight is {weight}; want a number from 0 (vectors alone) to below 1")
