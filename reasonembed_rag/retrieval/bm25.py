"""BM25 over an inverted index in numpy arrays: bag of words, and the query-side variant of BRIGHT's published baseline.

With weight(tf, length) = idf tf / (tf + k1 (1 - b + b length / average length)) and Lucene's
idf = ln((N + 1) / (df + 0.5)), a document scores the sum over the query's terms of

    tf_query x weight(tf_document, |document|)                     bag of words (Lucene)
    weight(tf_query, |query|) x weight(tf_document, |document|)    query-side (BRIGHT's baseline, arXiv 2407.12883)

where |query| counts the tokens known to the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Usage
from reasonembed_rag.retrieval.analyzer import Analyzer, EnglishAnalyzer
from reasonembed_rag.retrieval.exact import descending_ranks

__all__ = ["BM25", "Postings", "Variant"]

Variant = Literal["bag-of-words", "query-side"]

_BLOCK_TOKENS = 4_000_000
"""Tokens counted at a time while indexing: bounds the memory of the sort."""


@dataclass(frozen=True, slots=True, eq=False)
class Postings:
    """What BM25 knows of its documents: for each term the rows that contain it, and how often, sorted by term."""

    ids: tuple[str, ...]
    vocabulary: tuple[str, ...]
    starts: NDArray[np.int64]
    """Where each term's rows begin, and the end of the last."""
    rows: NDArray[np.int32]
    counts: NDArray[np.unsignedinteger[Any]]
    lengths: NDArray[np.int64]
    """The number of terms in each row, repetitions counted."""


class BM25:
    """Rank documents by BM25; finds only documents that share a term with the query.

    Lucene's English analysis with Porter stems on documents and queries, or another analyzer's terms. Raises InputError
    for no documents, repeated ids and parameters out of range, MissingDependencyError for the English analysis without
    PyStemmer.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        variant: Variant = "bag-of-words",
        k1: float = 0.9,
        b: float = 0.4,
        analyzer: Analyzer | None = None,
    ) -> None:
        if not documents:
            raise InputError("got no documents; want at least one to search")
        self._analyzer = analyzer or EnglishAnalyzer()
        self._set(_postings(documents, self._analyzer), variant, k1, b)

    @classmethod
    def from_postings(cls, postings: Postings, analyzer: Analyzer) -> Self:
        """Return the index of documents that were counted before by the same analyzer, with the usual parameters."""
        index = cls.__new__(cls)
        index._analyzer = analyzer  # noqa: SLF001  # the same class
        index._set(postings, "bag-of-words", 0.9, 0.4)  # noqa: SLF001  # the same class
        return index

    def identity(self) -> str:
        """Return what determines the scores, beside the documents."""
        return f"BM25 {self.variant} k1={self.k1} b={self.b} {type(self._analyzer).__name__}"

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k best documents of each query, its excluded ids removed before the cut; ties by id descending.

        Excluded ids unknown to the corpus are ignored. Raises InputError for k < 1 and for a number of exclusion lists
        other than that of the queries.
        """
        if k < 1:
            raise InputError(f"k is {k}; want at least 1")
        if excluded_ids is not None and len(excluded_ids) != len(queries):
            raise InputError(f"got {len(queries)} queries and {len(excluded_ids)} exclusion lists; want one per query")
        return [
            self._search_one(query, k, excluded_ids[number] if excluded_ids is not None else ())
            for number, query in enumerate(queries)
        ]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the documents, in their order."""
        return self.postings.ids

    def usage(self) -> Usage:
        """Return the size of the postings."""
        arrays = (self.postings.rows, self.postings.counts, self.postings.starts, self._impacts, self._idf)
        return Usage(index_bytes=sum(int(array.nbytes) for array in arrays))

    def score_all(self, query: str) -> NDArray[np.float64]:
        """Return the score (N,) of every document, in the order of the documents; 0 where no term is shared."""
        starts, rows = self.postings.starts, self.postings.rows
        scores = np.zeros(len(self.ids), dtype=np.float64)
        for term, weight in self._query_weights(query):
            start, stop = starts[term], starts[term + 1]
            scores[rows[start:stop]] += weight * self._impacts[start:stop]
        return scores

    def _search_one(self, query: str, k: int, excluded: Collection[str]) -> Hits:
        scores = self.score_all(query).astype(np.float32)
        scores[[self._row_of_id[identity] for identity in excluded if identity in self._row_of_id]] = 0.0
        found = np.flatnonzero(scores)
        if len(found) > k:
            worst = np.partition(scores[found], len(found) - k)[len(found) - k]
            found = found[scores[found] >= worst]
        best = found[np.lexsort((self._rank_of_row[found], -scores[found]))][:k]
        return Hits(tuple(map(self.ids.__getitem__, best.tolist())), scores[best])

    def _query_weights(self, query: str) -> list[tuple[int, float]]:
        """Return (term, weight) of a query's terms that are in the vocabulary."""
        known = [self._vocabulary[term] for term in self._analyzer.terms(query) if term in self._vocabulary]
        counts = Counter(known)
        if self.variant == "bag-of-words":
            return [(term, float(count)) for term, count in counts.items()]
        norm = self._norm(np.float64(len(known)))
        return [(term, float(self._idf[term] * count / (count + norm))) for term, count in counts.items()]

    def _norm(self, length: NDArray[np.float64] | np.float64) -> NDArray[np.float64] | np.float64:
        if self._average_length == 0.0:
            return length * 0.0 + self.k1
        return self.k1 * (1.0 - self.b + self.b * length / self._average_length)

    def _set(self, postings: Postings, variant: Variant, k1: float, b: float) -> None:
        """Weigh the counts of (row, term) pairs."""
        _check(variant, k1, b)
        self.variant = variant
        self.k1 = k1
        self.b = b
        self.postings = postings
        self._row_of_id = {identity: row for row, identity in enumerate(postings.ids)}
        self._rank_of_row = descending_ranks(postings.ids)
        self._vocabulary = {term: number for number, term in enumerate(postings.vocabulary)}
        self._average_length = float(postings.lengths.mean())
        document_frequency = np.diff(postings.starts)
        self._idf = np.log((len(postings.ids) + 1) / (document_frequency + 0.5))
        counts, norms = postings.counts.astype(np.float64), np.asarray(self._norm(postings.lengths.astype(np.float64)))
        self._impacts = np.repeat(self._idf, document_frequency) * counts / (counts + norms[postings.rows])


@dataclass(frozen=True, slots=True)
class _Counts:
    """How often a term occurs in a row: three arrays of equal length."""

    rows: NDArray[np.int32]
    terms: NDArray[np.int32]
    counts: NDArray[np.int32]


def _postings(documents: Sequence[Document], analyzer: Analyzer) -> Postings:
    """Count the terms of documents."""
    vocabulary: dict[str, int] = {}
    lengths = np.zeros(len(documents), dtype=np.int64)
    blocks: list[_Counts] = []
    tokens: list[int] = []
    first = 0
    for row, document in enumerate(documents):
        found = analyzer.terms(document.content)
        terms = [vocabulary.setdefault(term, len(vocabulary)) for term in found]
        lengths[row] = len(terms)
        tokens += terms
        if len(tokens) >= _BLOCK_TOKENS or row == len(documents) - 1:
            blocks.append(_count(tokens, lengths[first : row + 1], first))
            tokens, first = [], row + 1
    terms_P = np.concatenate([block.terms for block in blocks])
    counts_P = np.concatenate([block.counts for block in blocks])
    order_P = np.argsort(terms_P, kind="stable")
    return Postings(
        ids=tuple(document.id for document in documents),
        vocabulary=tuple(vocabulary),
        starts=np.concatenate(([0], np.cumsum(np.bincount(terms_P, minlength=len(vocabulary))))),
        rows=np.concatenate([block.rows for block in blocks])[order_P],
        counts=counts_P[order_P].astype(np.min_scalar_type(int(counts_P.max(initial=0)))),
        lengths=lengths,
    )


def _count(tokens: list[int], lengths: NDArray[np.int64], first: int) -> _Counts:
    """Count the terms of each row; `tokens` holds the rows from `first` on, concatenated."""
    rows = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    width = 1 << 32
    pairs, counts = np.unique(rows * width + np.asarray(tokens, dtype=np.int64), return_counts=True)
    return _Counts((pairs // width + first).astype(np.int32), (pairs % width).astype(np.int32), counts.astype(np.int32))


def _check(variant: str, k1: float, b: float) -> None:
    if variant not in get_args(Variant):
        raise InputError(f"variant is {variant!r}; {want_one_of(variant, get_args(Variant))}")
    if not k1 >= 0.0 or not 0.0 <= b <= 1.0:
        raise InputError(f"got k1 {k1} and b {b}; want k1 of at least 0 and b from 0 to 1")
