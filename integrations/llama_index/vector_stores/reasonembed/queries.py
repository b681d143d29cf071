"""LlamaIndex's queries: their modes, and what they are restricted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult
from llama_index.embeddings.reasonembed import QueryVector
from llama_index.vector_stores.reasonembed.filters import store_filter
from llama_index.vector_stores.reasonembed.nodes import LISTED, node_of, of_sources
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores import (
    FUSION_DEPTH,
    Filter,
    Group,
    LexicalSearch,
    Store,
    check_k,
    fused,
    search_mmr,
    with_documents,
)

__all__ = ["answer"]

_DENSE, _MMR, _HYBRID = VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR, VectorStoreQueryMode.HYBRID
_LEXICAL = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)
_SERVED = (_DENSE, _MMR, _HYBRID, *_LEXICAL)


def answer(
    store: Store, query: VectorStoreQuery, options: Mapping[str, Any], lexical: LexicalSearch
) -> VectorStoreQueryResult:
    """Return the nodes that a query finds; options are those of MMR. Raises InputError for what is not served."""
    if query.mode not in _SERVED:
        served = ", ".join(repr(mode.value) for mode in _SERVED)
        raise InputError(f"query mode {query.mode.value!r} is not served; want one of {served}")
    check_k(query.similarity_top_k)
    asked = _Asked(store, query)
    if query.mode in _LEXICAL:
        return _result(asked.lexical(lexical, k=query.sparse_top_k or query.similarity_top_k))
    if query.mode == _HYBRID:
        return _result(asked.hybrid(lexical))
    if query.query_embedding is None:
        return asked.unranked()
    return _result(asked.mmr(**options) if query.mode == _MMR else asked.dense(k=query.similarity_top_k))


class _Asked:
    """A query to a store, with its restrictions as the store takes them."""

    def __init__(self, store: Store, query: VectorStoreQuery) -> None:
        self._store = store
        self._query = query
        self._filters = _filters(query)
        self._ids = _ids(store, query)

    def dense(self, *, k: int) -> Hits:
        (hits,) = self._store.search(self._vector(), k=k, filters=self._filters, ids=self._ids)
        return hits

    def mmr(
        self,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_k: int | None = None,
        mmr_prefetch_factor: float | None = None,
    ) -> Hits:
        k = self._query.similarity_top_k
        if mmr_prefetch_k is not None and mmr_prefetch_factor is not None:
            raise InputError("got mmr_prefetch_k and mmr_prefetch_factor; want one of them")
        fetch_k = 20 if mmr_prefetch_k is None else mmr_prefetch_k
        if mmr_prefetch_factor is not None:
            fetch_k = max(1, int(k * mmr_prefetch_factor))
        balance = self._query.mmr_threshold if mmr_threshold is None else mmr_threshold
        (hits,) = search_mmr(
            self._store,
            self._vector(),
            k=k,
            fetch_k=fetch_k,
            balance=0.5 if balance is None else balance,
            filters=self._filters,
            ids=self._ids,
        )
        return hits

    def lexical(self, lexical: LexicalSearch, *, k: int) -> Hits:
        if not self._query.query_str:
            raise InputError(f"the query has no text, which mode {self._query.mode.value!r} searches; give query_str")
        (hits,) = lexical.search(self._store, [self._query.query_str], k=k, filters=self._filters, ids=self._ids)
        return with_documents(hits, self._store)

    def hybrid(self, lexical: LexicalSearch) -> Hits:
        query = self._query
        alpha = 0.5 if query.alpha is None else query.alpha
        if not 0.0 <= alpha <= 1.0:
            raise InputError(f"alpha is {alpha}; want a number from 0 (BM25 alone) to 1 (vectors alone)")
        k = query.hybrid_top_k or query.similarity_top_k
        depth = max(k, FUSION_DEPTH)
        if alpha == 1.0:
            return self.dense(k=k)
        bm25 = self.lexical(lexical, k=query.sparse_top_k or depth)
        if alpha == 0.0:
            return bm25[:k]
        return with_documents(fused(self.dense(k=depth), bm25, bm25_weight=1.0 - alpha, k=k), self._store)

    def unranked(self) -> VectorStoreQueryResult:
        """Return what satisfies the restrictions, oldest first."""
        if self._filters is None and self._ids is None:
            raise InputError("the query has neither an embedding, nor filters, nor ids; want one of them")
        found = self._store.select(self._filters or Group("all", ()), ids=self._ids)[: self._query.similarity_top_k]
        return VectorStoreQueryResult(
            nodes=[node_of(document) for document in found], ids=[document.id for document in found]
        )

    def _vector(self) -> NDArray[np.float32]:
        embedding = self._query.query_embedding
        if embedding is None:
            raise InputError(f"the query has no embedding, which mode {self._query.mode.value!r} needs; embed it first")
        if isinstance(embedding, QueryVector):
            self._store.check_spec(embedding.spec)
        return np.asarray([embedding], dtype=np.float32)


def _filters(query: VectorStoreQuery) -> Filter | None:
    tree = store_filter(query.filters)
    if not query.doc_ids:
        return tree
    among = of_sources(query.doc_ids)
    return among if tree is None else Group("all", (tree, among))


def _ids(store: Store, query: VectorStoreQuery) -> Sequence[str] | None:
    """Return the node ids to which a query is restricted.

    An index hands each of its retrievers the ids of the IndexNodes and ImageNodes that it was given, which is no
    restriction. From a retriever, whose queries have a text, a list without any other node is that list.
    """
    if not query.node_ids:
        return None
    listed = query.query_str is not None and not store.select(Group("none", (LISTED,)), ids=query.node_ids)
    return None if listed else query.node_ids


def _result(hits: Hits) -> VectorStoreQueryResult:
    return VectorStoreQueryResult(
        nodes=[node_of(document) for document in hits.documents or ()],
        similarities=hits.scores.tolist(),
        ids=list(hits.ids),
    )
