"""Exact search over vectors prepared once: in memory, or in shards mapped from disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval.ranks import descending_ranks
from reasonembed_rag.search import contenders, exact_scores

__all__ = ["ExactIndex"]

_BLOCK_SCORES = 16_000_000
"""Scores held at once: 64 MB of float32."""


class ExactIndex:
    """Find the documents of highest inner product; equals reasonembed_rag.search.exact_search to the last bit.

    What depends on the documents alone is computed once, so that asking many queries one by one stays cheap. Of vectors
    on disk no more than a shard is read at a time. Raises InputError for shards that do not match the ids, repeated ids
    and vectors that are not finite.
    """

    def __init__(self, shards: Sequence[NDArray[np.float32]], ids: Sequence[str]) -> None:
        self._shards = [shard for shard in shards if len(shard)]
        self._ids = tuple(ids)
        self._edges = np.cumsum([0, *(len(shard) for shard in self._shards)])
        if self._edges[-1] != len(self._ids):
            raise InputError(f"got {self._edges[-1]} document vectors and {len(self._ids)} ids; want one id a row")
        if len({shard.shape[1:] for shard in self._shards}) > 1 or any(shard.ndim != 2 for shard in self._shards):
            raise InputError(f"got shards of shapes {[shard.shape for shard in self._shards]}; want (N, D) of one D")
        self._longest = max((_longest(shard) for shard in self._shards), default=0.0)
        self._rank_of_row = descending_ranks(self._ids)

    @property
    def nbytes(self) -> int:
        """The size of the vectors in bytes."""
        return sum(int(shard.nbytes) for shard in self._shards)

    def search(
        self,
        query_vectors: NDArray[np.float32],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k best documents of each query (Q, D), exclusions before the cut; ties by id descending.

        Excluded ids unknown to the corpus are ignored. Raises InputError for shapes that disagree, vectors that are not
        finite, k < 1 and a count of exclusion lists other than that of the queries.
        """
        self._check(query_vectors, k, excluded_ids)
        hits: list[Hits] = []
        block = max(1, _BLOCK_SCORES // max(1, len(self._ids)))
        for start in range(0, len(query_vectors), block):
            queries_QD = query_vectors[start : start + block]
            scores_QN = np.empty((len(queries_QD), len(self._ids)), dtype=np.float32)
            for first, shard in self._parts():
                np.matmul(queries_QD, shard.T, out=scores_QN[:, first : first + len(shard)])
            for offset, scores_N in enumerate(scores_QN):
                banned = excluded_ids[start + offset] if excluded_ids is not None else ()
                hits.append(self._best(queries_QD[offset], scores_N, k, banned))
        return hits

    def _best(
        self, query_D: NDArray[np.float32], scores_N: NDArray[np.float32], k: int, banned: Collection[str]
    ) -> Hits:
        rows = {self._row_of_id[identity] for identity in banned if identity in self._row_of_id} if banned else set()
        scores_N[list(rows)] = -np.inf
        left = min(k, len(self._ids) - len(rows))
        found = contenders(scores_N, left, length=self._longest * float(np.linalg.norm(query_D)))
        exact = self._exact_scores(query_D, found)
        best = np.lexsort((self._rank_of_row[found], -exact))[:left]
        return Hits(tuple(self._ids[row] for row in found[best]), exact[best])

    def _exact_scores(self, query_D: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the exact scores of ascending rows."""
        scores = np.empty(len(rows), dtype=np.float32)
        for first, shard in self._parts():
            start, stop = np.searchsorted(rows, (first, first + len(shard)))
            if stop > start:
                scores[start:stop] = exact_scores(query_D, shard[rows[start:stop] - first])
        return scores

    def _parts(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first row, vectors) of each shard."""
        return zip(self._edges[:-1].tolist(), self._shards, strict=True)

    @cached_property
    def _row_of_id(self) -> dict[str, int]:
        return {identity: row for row, identity in enumerate(self._ids)}

    def _check(
        self, query_vectors: NDArray[np.float32], k: int, excluded_ids: Sequence[Collection[str]] | None
    ) -> None:
        wanted = self._shards[0].shape[1] if self._shards else None
        if query_vectors.ndim != 2 or (wanted is not None and query_vectors.shape[1] != wanted):
            raise InputError(f"want query vectors of shape (Q, {wanted or 'D'}), got {query_vectors.shape}")
        if k < 1:
            raise InputError(f"k is {k}; want at least 1")
        if excluded_ids is not None and len(excluded_ids) != len(query_vectors):
            raise InputError(
                f"got {len(query_vectors)} queries and {len(excluded_ids)} exclusion lists; want one a query"
            )
        if not np.isfinite(query_vectors).all():
            raise InputError("query vectors hold NaN or infinity; want finite numbers: encode the queries again")


def _longest(shard: NDArray[np.float32]) -> float:
    """Return the largest norm of a shard's vectors; raises InputError where one is not finite."""
    square = float(np.einsum("nd,nd->n", shard, shard).max())
    if not np.isfinite(square):
        raise InputError("document vectors hold NaN or infinity; want finite numbers: encode the texts again")
    return float(np.sqrt(square))
