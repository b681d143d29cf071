"""Foreign retrievers: what a function returns becomes Hits, and exclusions are applied for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import SupportsFloat

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits

__all__ = ["CallableRetriever", "SearchOutput", "hits_in_order", "keep"]

SearchOutput = Hits | Sequence[str] | Sequence[tuple[str, float]]
"""What a function may return, best first: hits, ids, or ids with scores."""


class CallableRetriever:
    """Turn a function of (query, k) into a retriever.

    The function is asked for k documents plus as many as the query excludes; those are then removed.
    """

    def __init__(self, search: Callable[[str, int], SearchOutput]) -> None:
        self._search = search

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return at most k hits of each query in the function's order, its excluded ids removed before the cut.

        Raises InputError where the function does not return hits, ids or pairs of id and score.
        """
        bans = excluded_ids if excluded_ids is not None else [()] * len(queries)
        return [
            keep(_hits(self._search(query, k + len(banned))), banned, k)
            for query, banned in zip(queries, bans, strict=True)
        ]


def hits_in_order(ids: Sequence[str], scores: Sequence[float] | None = None) -> Hits:
    """Return hits that are ranked in the order of the ids.

    Scores are kept where they never rise along the ids; where they never fall they are distances, and their negatives
    are kept. Others (none at all, or scores of different scales merged) cannot order the documents and are replaced by
    the number of positions from the end.
    """
    if scores is not None:
        if len(scores) != len(ids):
            raise InputError(f"got {len(ids)} ids and {len(scores)} scores; want one score per id")
        kept = np.asarray(scores, dtype=np.float32)
        if not (kept[1:] > kept[:-1]).any():
            return Hits(tuple(ids), kept)
        if not (kept[1:] < kept[:-1]).any():
            return Hits(tuple(ids), -kept)
    return Hits(tuple(ids), np.arange(len(ids), 0, -1, dtype=np.float32))


def keep(hits: Hits, excluded: Collection[str], k: int) -> Hits:
    """Return the first k hits that are not excluded."""
    banned = frozenset(excluded)
    return hits.take([position for position, identity in enumerate(hits.ids) if identity not in banned][:k])


def _hits(output: SearchOutput) -> Hits:
    if isinstance(output, Hits):
        return output
    if isinstance(output, str) or not isinstance(output, Iterable):
        raise InputError(f"the function returned {output!r:.80}; want ids, or pairs of id and score")
    found = list(output)
    if all(isinstance(item, str) for item in found):
        return hits_in_order([item for item in found if isinstance(item, str)])
    pairs = [_pair(item) for item in found]
    return hits_in_order([identity for identity, _ in pairs], [score for _, score in pairs])


def _pair(item: object) -> tuple[str, float]:
    match item:
        case (str() as identity, SupportsFloat() as score):
            return identity, float(score)
    raise InputError(f"the function returned {item!r:.80} among its hits; want ids, or pairs of id and score")
