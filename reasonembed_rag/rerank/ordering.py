"""Hits in the order of new scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reasonembed_rag.encoder import distinct
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hit, Hits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Pair = tuple[str, str]

__all__ = ["check_pairs", "rerank_by"]


def check_pairs(pairs: Sequence[Any]) -> list[Pair]:
    """Return pairs of a query and a document; raises InputError for anything else."""
    for number, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise InputError(f"pair {number} is {pair!r}; want a query and a document, both strings")
    return [(query, document) for query, document in pairs]


def rerank_by(
    score: Callable[[Sequence[Pair]], NDArray[np.float32]],
    queries: Sequence[str],
    hits: Sequence[Hits],
    *,
    k: int | None,
) -> list[Hits]:
    """Return each query's hits by the scores of their texts, ties by larger id; each pair is scored once.

    Raises InputError for another number of hits than queries, for hits without documents and for k below 1.
    """
    if len(queries) != len(hits):
        raise InputError(f"got {len(queries)} queries and hits of {len(hits)}; want the hits of each query")
    if k is not None and k < 1:
        raise InputError(f"k is {k}; want at least 1, or None for all")
    pairs: list[Pair] = []
    for query, found in zip(queries, hits, strict=True):
        if found.documents is None and len(found):
            raise InputError(
                f"the hits of {query[:60]!r} have no documents, whose texts a reranker reads; want hits of a retriever "
                "that keeps documents"
            )
        pairs += [(query, document.content) for document in found.documents or ()]
    unique = distinct(pairs)
    scores = score([pairs[row] for row in unique.first])[unique.inverse]
    ranked, start = [], 0
    for found in hits:
        if not len(found):
            ranked.append(found)
            continue
        own = scores[start : start + len(found)].tolist()
        start += len(found)
        ranked.append(Hits.ranked((Hit(hit.id, new, hit.document) for hit, new in zip(found, own, strict=True)), k=k))
    return ranked
