"""Exact search by inner product: the search of the core and of the stores, and the oracle of every ANN index.

Scores are computed twice. A float32 product of all vectors finds the rows that may be among the k best; their scores
are then summed in float64, in the same order for every row, and rounded to float32. Equal vectors therefore have equal
scores in every position, which BLAS alone does not guarantee, and ties go to the larger id, as in trec_eval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits

__all__ = [
    "ROUNDING",
    "ExactIndex",
    "TopRows",
    "descending_ranks",
    "exact_scores",
    "exact_search",
    "top_candidates",
    "top_rows",
    "unit_rows",
]

ROUNDING = 1e-5
"""Bounds the error of a float32 product of unit vectors: BLAS sums in an order that depends on the row's position."""

_BLOCK_SCORES = 16_000_000
"""Scores in memory at a time: 64 MB of float32."""
_BLOCK_ROWS = 16_384
"""Rows of float16 converted to float32 at a time."""
_SELECTIVE = 8
"""Where fewer than one row in eight is allowed, gathering those is faster than scoring all."""
_UNIT = 1e-5
"""How far a squared norm may be from 1 for a vector to be kept bit for bit."""

_Matrix = NDArray[np.floating[Any]]


def exact_search(
    query_vectors: NDArray[np.float32],
    document_vectors: NDArray[np.float32],
    document_ids: Sequence[str],
    *,
    k: int,
    excluded_ids: Sequence[Collection[str]] | None = None,
) -> list[Hits]:
    """Return the k documents of highest inner product for each query, its excluded ids removed before the cut.

    query_vectors is (Q, D), document_vectors (N, D). excluded_ids has one collection per query; ids unknown to the
    corpus are ignored. Ties go to the larger id. Fewer than k hits are returned only where fewer documents are left.
    Raises InputError for shapes that disagree, repeated ids, vectors that are not finite and k < 1.
    """
    return ExactIndex([document_vectors], document_ids).search(query_vectors, k=k, excluded_ids=excluded_ids)


class ExactIndex:
    """Find the documents of highest inner product among vectors in memory, or in shards mapped from disk.

    What depends on the documents alone is computed once, so that many queries one by one are cheap. Of vectors on disk
    no more than one shard is read at a time. Raises InputError for shards that do not match the ids, repeated ids and
    vectors that are not finite.
    """

    def __init__(self, shards: Sequence[_Matrix], ids: Sequence[str]) -> None:
        self._ids = tuple(ids)
        if len({shard.shape[1:] for shard in shards}) > 1 or any(shard.ndim != 2 for shard in shards):
            raise InputError(f"got vectors of shapes {[shard.shape for shard in shards]}; want (N, D) of one D")
        count = sum(len(shard) for shard in shards)
        if count != len(self._ids):
            raise InputError(f"got {count} document vectors and {len(self._ids)} ids; want one id per row")
        self._dimension = shards[0].shape[1] if shards else None
        self._shards = [shard for shard in shards if len(shard)]
        self._largest_norm = max((_largest_norm(shard) for shard in self._shards), default=0.0)
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
        finite, k < 1 and a number of exclusion lists other than that of the queries.
        """
        self._check(query_vectors, k, excluded_ids)
        excluded_rows = None if excluded_ids is None else [self._rows_of(ids) for ids in excluded_ids]
        found = top_rows(self._shards, query_vectors, k=k, excluded_rows=excluded_rows, largest_norm=self._largest_norm)
        return [self._hits(one, k) for one in found]

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, D) of the documents of these ids; raises InputError for an unknown id."""
        vectors = np.empty((len(ids), self._dimension or 0), dtype=np.float32)
        starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        for place, identity in enumerate(ids):
            row = self._row_of_id.get(identity)
            if row is None:
                raise InputError(f"no document has the id {identity!r}; want ids that the search returned")
            shard = int(np.searchsorted(starts, row, side="right")) - 1
            vectors[place] = self._shards[shard][row - starts[shard]]
        return vectors

    def _hits(self, found: TopRows, k: int) -> Hits:
        best = np.lexsort((self._rank_of_row[found.rows], -found.scores))[:k]
        return Hits(tuple(map(self._ids.__getitem__, found.rows[best].tolist())), found.scores[best])

    def _rows_of(self, ids: Collection[str]) -> NDArray[np.int64]:
        if not ids:
            return _NO_ROWS
        known = {self._row_of_id[identity] for identity in ids if identity in self._row_of_id}
        return np.fromiter(known, dtype=np.int64, count=len(known))

    @cached_property
    def _row_of_id(self) -> dict[str, int]:
        return {identity: row for row, identity in enumerate(self._ids)}

    def _check(
        self, query_vectors: NDArray[np.float32], k: int, excluded_ids: Sequence[Collection[str]] | None
    ) -> None:
        if query_vectors.ndim != 2 or self._dimension not in {None, query_vectors.shape[1]}:
            own = (len(self._ids), self._dimension or "D")
            raise InputError(
                f"want query vectors (Q, D) for document vectors (N, D), got {query_vectors.shape} and {own}"
            )
        if k < 1:
            raise InputError(f"k is {k}; want at least 1")
        if excluded_ids is not None and len(excluded_ids) != len(query_vectors):
            raise InputError(
                f"got {len(query_vectors)} queries and {len(excluded_ids)} exclusion lists; want one per query"
            )
        if not np.isfinite(query_vectors).all():
            raise InputError("query vectors hold NaN or infinity; want finite numbers: encode the queries again")


@dataclass(frozen=True, slots=True)
class TopRows:
    """The k best rows for a query and all others that tie with the last of them, in the order of the rows.

    Whoever knows the ids decides between the ties.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


def top_rows(
    shards: Sequence[_Matrix],
    queries_QD: NDArray[np.float32],
    *,
    k: int,
    allowed: NDArray[np.bool_] | None = None,
    excluded_rows: Sequence[NDArray[np.int64]] | None = None,
    largest_norm: float = 1.0,
) -> Iterator[TopRows]:
    """Yield the best rows of the shards for each query.

    Rows are counted through all shards, of float32 or float16. allowed (N,) holds for every query, excluded_rows has
    distinct rows for each. largest_norm is that of the shards' vectors. Shapes are not checked.
    """
    if allowed is not None and int(np.count_nonzero(allowed)) * _SELECTIVE < len(allowed):
        rows = np.flatnonzero(allowed)
        few = _gather(shards, rows)
        excluded = None if excluded_rows is None else [_positions(own, rows) for own in excluded_rows]
        for found in top_rows(few, queries_QD, k=k, excluded_rows=excluded, largest_norm=largest_norm):
            yield TopRows(rows[found.rows], found.scores)
        return
    denied = None if allowed is None else np.flatnonzero(~allowed)
    total = sum(len(shard) for shard in shards) - (0 if denied is None else len(denied))
    norms = (np.linalg.norm(queries_QD, axis=1) * largest_norm).tolist()
    for number, scores_N in enumerate(_score_rows(shards, queries_QD)):
        left = total
        if denied is not None:
            scores_N[denied] = -np.inf
        if excluded_rows is not None and len(excluded_rows[number]):
            rows = excluded_rows[number]
            rows = rows[scores_N[rows] != -np.inf]
            scores_N[rows] = -np.inf
            left -= len(rows)
        query_D = queries_QD[number]
        candidates = _candidates(scores_N, min(k, left), norms=norms[number])
        yield _top(candidates, _exact_scores(shards, candidates, query_D), k)


def top_candidates(matrix: _Matrix, query_D: NDArray[np.float32], candidates: NDArray[np.int64], *, k: int) -> TopRows:
    """Return the best of some rows of a matrix."""
    return _top(candidates, exact_scores(query_D, matrix[candidates]), k)


def exact_scores(query_D: NDArray[np.float32], vectors_ND: _Matrix) -> NDArray[np.float32]:
    """Return inner products (N,) summed in float64 in the same order for every row, rounded to float32."""
    products_ND: NDArray[np.float64] = vectors_ND.astype(np.float64)
    products_ND *= query_D
    scores_N: NDArray[np.float64] = np.sum(products_ND, axis=1)
    return scores_N.astype(np.float32)


def descending_ranks(ids: Sequence[str]) -> NDArray[np.int64]:
    """Return the rank of each id in descending order, by which ties are broken; raises InputError for a repeated id."""
    if len(set(ids)) < len(ids):
        repeated = next(identity for identity, count in Counter(ids).items() if count > 1)
        raise InputError(f"document id {repeated!r} occurs twice; ids must be unique: rename or drop one")
    order = np.asarray(sorted(range(len(ids)), key=ids.__getitem__, reverse=True), dtype=np.int64)
    ranks = np.empty(len(ids), dtype=np.int64)
    ranks[order] = np.arange(len(ids))
    return ranks


def unit_rows(rows_ND: NDArray[np.float32], *, name: str) -> NDArray[np.float32]:
    """Return rows scaled to length 1; those that have it up to rounding, and rows of zeros, are kept bit for bit.

    Raises InputError, naming the row, for NaN, infinity and numbers whose squares overflow.
    """
    with np.errstate(over="ignore"):
        squares_N = np.einsum("nd,nd->n", rows_ND, rows_ND)
    if not np.isfinite(squares_N).all():
        row = int(np.flatnonzero(~np.isfinite(squares_N))[0])
        raise InputError(f"row {row} of {name} holds NaN, infinity or numbers too large; encode its text again")
    off_N = np.flatnonzero(np.abs(squares_N - 1.0) > _UNIT)
    if not len(off_N):
        return rows_ND
    wide_ND = rows_ND[off_N].astype(np.float64)
    norms_N = np.linalg.norm(wide_ND, axis=1)
    norms_N[norms_N == 0.0] = 1.0
    scaled_ND = rows_ND.copy()
    scaled_ND[off_N] = (wide_ND / norms_N[:, None]).astype(np.float32)
    return scaled_ND


_NO_ROWS = np.empty(0, dtype=np.int64)


def _score_rows(shards: Sequence[_Matrix], queries_QD: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield each query's float32 scores (N,) of all rows; the caller may write into them."""
    count = sum(len(shard) for shard in shards)
    block = max(1, _BLOCK_SCORES // max(1, count))
    for start in range(0, len(queries_QD), block):
        queries = queries_QD[start : start + block]
        scores_QN = np.empty((len(queries), count), dtype=np.float32)
        for first, shard in _parts(shards):
            for row, part_ND in _float32_parts(shard):
                np.matmul(queries, part_ND.T, out=scores_QN[:, first + row : first + row + len(part_ND)])
        yield from scores_QN


def _float32_parts(shard: _Matrix) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first row, float32 rows) of a shard: at once where it is float32, else part by part."""
    size = max(1, len(shard)) if shard.dtype == np.float32 else _BLOCK_ROWS
    for row in range(0, len(shard), size):
        yield row, shard[row : row + size].astype(np.float32, copy=False)


def _parts(shards: Sequence[_Matrix]) -> Iterator[tuple[int, _Matrix]]:
    """Yield (first row, vectors) of each shard."""
    first = 0
    for shard in shards:
        yield first, shard
        first += len(shard)


def _candidates(scores_N: NDArray[np.float32], k: int, *, norms: float) -> NDArray[np.int64]:
    """Return the rows that may be among the k best, given the rounding of their float32 scores.

    norms is the largest product of the query's and a document's norm. k is at most N; rows of -inf never count as best.
    """
    if k == 0:
        return _NO_ROWS
    live_N = scores_N[scores_N != -np.inf]  # partition is slow where one number fills most of an array
    worst = np.partition(live_N, len(live_N) - k)[len(live_N) - k]
    return np.flatnonzero(scores_N >= worst - 2 * ROUNDING * norms)


def _exact_scores(
    shards: Sequence[_Matrix], rows: NDArray[np.int64], query_D: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the exact scores of ascending rows."""
    if len(shards) == 1:
        return exact_scores(query_D, shards[0][rows])
    scores = np.empty(len(rows), dtype=np.float32)
    for first, shard in _parts(shards):
        start, stop = np.searchsorted(rows, (first, first + len(shard)))
        if stop > start:
            scores[start:stop] = exact_scores(query_D, shard[rows[start:stop] - first])
    return scores


def _gather(shards: Sequence[_Matrix], rows: NDArray[np.int64]) -> list[_Matrix]:
    """Copy ascending rows out of the shards."""
    edges = [(first, first + len(shard)) for first, shard in _parts(shards)]
    inside = [rows[slice(*np.searchsorted(rows, edge))] - edge[0] for edge in edges]
    return [shard[own] for shard, own in zip(shards, inside, strict=True)]


def _positions(wanted: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of distinct rows among ascending rows; those that are not among them are left out."""
    return np.searchsorted(rows, wanted[np.isin(wanted, rows, assume_unique=True)])


def _top(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> TopRows:
    """Keep the k best rows and all that tie with the last of them."""
    if len(rows) > k:
        kept = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        rows, scores = rows[kept], scores[kept]
    return TopRows(rows, scores)


def _largest_norm(shard: _Matrix) -> float:
    """Return the largest norm of a shard's vectors; raises InputError where one is not finite."""
    squares = [np.einsum("nd,nd->n", part_ND, part_ND).max() for _, part_ND in _float32_parts(shard)]
    square = float(np.max(squares))
    if not np.isfinite(square):
        raise InputError("document vectors hold NaN or infinity; want finite numbers: encode the texts again")
    return float(np.sqrt(square))
