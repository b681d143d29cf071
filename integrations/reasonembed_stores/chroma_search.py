"""Search of a Chroma collection with the semantics of every store: filters first, exclusions, ties by id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.retrieval import ROUNDING, exact_scores, keep
from reasonembed_stores.chroma_metadata import OVERFLOW, from_chroma, to_where
from reasonembed_stores.filters import Filter, matches

__all__ = ["Allowed", "find_allowed", "find_neighbours"]

_PAGE = 2000
_MARGIN = 8
"""Neighbours requested beyond k, so that documents that tie at the cut are seen."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which records may be found: those that satisfy `where` and are among `ids`; None restricts nothing."""

    where: dict[str, Any] | None
    ids: list[str] | None


def find_allowed(collection: Any, tree: Filter | None, ids: list[str] | None) -> Allowed:
    """Translate a filter to Chroma's, or evaluate it here where Chroma cannot express it."""
    known = None if ids is None else _known(collection, ids)
    if tree is None:
        return Allowed(None, known)
    where = to_where(tree)
    if where is not None and not collection.get(where={OVERFLOW: 1}, limit=1, include=[])["ids"]:
        return Allowed(where, known)
    wanted = None if known is None else set(known)
    matching: list[str] = []
    for offset in range(0, collection.count(), _PAGE):
        page = collection.get(limit=_PAGE, offset=offset, include=["metadatas"])
        for identity, native in zip(page["ids"], page["metadatas"], strict=True):
            if (wanted is None or identity in wanted) and matches(tree, from_chroma(native)):
                matching.append(identity)
    return Allowed(None, matching)


def _known(collection: Any, ids: list[str]) -> list[str]:
    distinct = list(dict.fromkeys(ids))
    pages = (distinct[start : start + _PAGE] for start in range(0, len(distinct), _PAGE))
    return [identity for page in pages for identity in collection.get(ids=page, include=[])["ids"]]


def find_neighbours(
    collection: Any,
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: Allowed,
    banned: Sequence[Sequence[str]],
) -> list[Hits]:
    """Return the k best records for each query, requesting more where the cut goes through a tie."""
    total = collection.count() if allowed.ids is None else len(allowed.ids)
    hits = [Hits.ranked([]) for _ in queries_QD]
    pending = list(range(len(queries_QD))) if total else []
    asked = k + _MARGIN
    while pending:
        wanted = min(total, asked + max(len(banned[number]) for number in pending))
        _widen(collection, wanted)
        answer = collection.query(
            query_embeddings=queries_QD[pending],
            n_results=wanted,
            where=allowed.where,
            ids=allowed.ids,
            include=["documents", "metadatas", "embeddings"],
        )
        unsettled = []
        for row, number in enumerate(pending):
            ranked = _ranked(answer, row, queries_QD[number])
            hits[number] = keep(ranked, banned[number], k)
            if len(ranked) == wanted < total and not _settled(hits[number], ranked, k):
                unsettled.append(number)
        pending = unsettled
        asked *= 4
    return hits


def _ranked(answer: Any, row: int, query_D: NDArray[np.float32]) -> Hits:
    ids = answer["ids"][row]
    if not ids:
        return Hits.ranked([])
    scores = exact_scores(query_D, np.asarray(answer["embeddings"][row], dtype=np.float32)).tolist()
    columns = zip(ids, answer["documents"][row], answer["metadatas"][row], scores, strict=True)
    return Hits.ranked(
        Hit(name, score, Document(name, text or "", from_chroma(native))) for name, text, native, score in columns
    )


def _settled(best: Hits, ranked: Hits, k: int) -> bool:
    """Tell whether no record beyond the returned ones can be among the k best."""
    return len(best) == k and best[-1].score > ranked[-1].score + ROUNDING


def _widen(collection: Any, wanted: int) -> None:
    """Let the graph be searched as widely as results are wanted: with less it silently misses neighbours."""
    hnsw = collection.configuration_json.get("hnsw")
    if hnsw and hnsw["ef_search"] < wanted:
        collection.modify(configuration={"hnsw": {"ef_search": max(wanted, 2 * hnsw["ef_search"])}})
