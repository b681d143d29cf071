"""Search by what an expander wrote: in place of the query, after it, in lists of its own, or as a mean of vectors."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import ChatError, InputError, want_one_of
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.expand_feedback import appended, check_repeat_weight, repeated
from reasonembed_rag.pipeline.fusion import FusionKind, fuse_hits
from reasonembed_rag.pipeline.pipeline import class_name
from reasonembed_rag.protocols import Expansion, QueryExpander, Retriever, Usage, VectorRetriever, total_usage

__all__ = ["Combination", "ExpandedRetriever"]

_logger = logging.getLogger(__name__)

Combination = Literal["replace", "append", "lists", "mean"]


class ExpandedRetriever:
    """Expand queries and search by the texts that are written for them; a query without any is searched as it is.

    "replace" searches the texts instead of the query, "append" the query, a blank line and the texts; either is one
    query. "lists" searches the query and each text alone, `depth` documents each, or k where that is more, and fuses
    the lists as Fusion does. "mean" searches the mean of the vectors of the query and of each text. Hypothetical
    documents are embedded as documents in lists and mean where the retriever is a VectorRetriever, which mean needs.
    `repeat_weight` makes append repeat the query before the texts, for BM25: see `repeated`. With `fall_back`, queries
    are searched as they are where the expander's chat model cannot be used, which is logged once and counted.

    Raises InputError for an unknown combination, "mean" over a retriever without vectors, and arguments that the
    combination does not use.
    """

    def __init__(
        self,
        retriever: Retriever,
        expander: QueryExpander,
        *,
        combine: Combination = "append",
        fusion: FusionKind | None = None,
        depth: int | None = None,
        repeat_weight: float | None = None,
        fall_back: bool = False,
    ) -> None:
        self.retriever = retriever
        self.expander = expander
        self.combine = _checked(combine, fusion=fusion, depth=depth, repeat_weight=repeat_weight)
        self._vectors = retriever if isinstance(retriever, VectorRetriever) else None
        if combine == "mean" and self._vectors is None:
            raise InputError(
                f'combine is "mean" and {class_name(retriever)} gives no vectors; want an index, a DenseRetriever, or '
                '"lists", "append" or "replace"'
            )
        self.fusion: FusionKind = fusion or "scores"
        self.depth = depth or 1000
        self.repeat_weight = repeat_weight
        self.fallbacks = 0
        """Queries that were searched as they are because the expander could not be used."""
        self._fall_back = fall_back

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return at most k hits of each query, exclusions before the cut; ties by id descending."""
        written = self._expanded(queries, excluded_ids)
        if self.combine == "lists":
            return self._search_lists(queries, written, k, excluded_ids)
        if self.combine == "mean" and self._vectors is not None:
            vectors_QD = _means(self._vectors, queries, written)
            return self._vectors.search_vectors(vectors_QD, k=k, excluded_ids=excluded_ids, texts=queries)
        texts = [self._text(query, one) for query, one in zip(queries, written, strict=True)]
        return self.retriever.search(texts, k=k, excluded_ids=excluded_ids)

    def usage(self) -> Usage:
        """Return the sum of what the retriever and the expander have used, as far as it is known."""
        return total_usage([self.retriever, self.expander])

    def _expanded(self, queries: Sequence[str], excluded_ids: Sequence[Collection[str]] | None) -> Sequence[Expansion]:
        try:
            return self.expander.expand(queries, retriever=self.retriever, excluded_ids=excluded_ids)
        except ChatError as error:
            if not self._fall_back:
                raise
            if not self.fallbacks:
                _logger.warning("query expansion is left out: %s", error)
            self.fallbacks += len(queries)
            return [Expansion()] * len(queries)

    def _text(self, query: str, written: Expansion) -> str:
        texts = (*written.queries, *written.documents)
        if not texts:
            return query
        if self.combine == "replace":
            return "\n\n".join(texts)
        if self.repeat_weight is None:
            return appended(query, texts)
        return repeated(query, texts, weight=self.repeat_weight)

    def _search_lists(
        self,
        queries: Sequence[str],
        written: Sequence[Expansion],
        k: int,
        excluded_ids: Sequence[Collection[str]] | None,
    ) -> list[Hits]:
        """Search all texts of all queries at once, and fuse the lists of each query that was expanded."""
        bans: Sequence[Collection[str]] = excluded_ids if excluded_ids is not None else [()] * len(queries)
        as_queries: list[tuple[int, str]] = []
        as_documents: list[tuple[int, str]] = []
        for place, (query, one) in enumerate(zip(queries, written, strict=True)):
            as_queries += [(place, text) for text in (query, *one.queries)]
            (as_queries if self._vectors is None else as_documents).extend((place, text) for text in one.documents)
        depth = max(k, self.depth)
        lists: list[list[Hits]] = [[] for _ in queries]
        if as_queries:
            own_bans = [bans[place] for place, _ in as_queries]
            found = self.retriever.search([text for _, text in as_queries], k=depth, excluded_ids=own_bans)
            for (place, _), hits in zip(as_queries, found, strict=True):
                lists[place].append(hits)
        if as_documents and self._vectors is not None:
            written_texts = [text for _, text in as_documents]
            vectors = self._vectors.embed_documents(written_texts)
            own_bans = [bans[place] for place, _ in as_documents]
            found = self._vectors.search_vectors(vectors, k=depth, excluded_ids=own_bans, texts=written_texts)
            for (place, _), hits in zip(as_documents, found, strict=True):
                lists[place].append(hits)
        return [
            own[0][:k] if len(own) == 1 else fuse_hits(own, weights=[1.0] * len(own), fusion=self.fusion, k=k)
            for own in lists
        ]


def _means(retriever: VectorRetriever, queries: Sequence[str], written: Sequence[Expansion]) -> NDArray[np.float32]:
    """Return the mean (Q, D) of the vectors of each query and of what was written for it."""
    sums_QD = retriever.embed_queries(queries).astype(np.float64)
    counts_Q = np.ones(len(queries))
    query_texts = [(place, text) for place, one in enumerate(written) for text in one.queries]
    document_texts = [(place, text) for place, one in enumerate(written) for text in one.documents]
    for texts, embed in ((query_texts, retriever.embed_queries), (document_texts, retriever.embed_documents)):
        if texts:
            vectors = embed([text for _, text in texts])
            for (place, _), vector_D in zip(texts, vectors, strict=True):
                sums_QD[place] += vector_D
                counts_Q[place] += 1
    means_QD: NDArray[np.float32] = (sums_QD / counts_Q[:, None]).astype(np.float32)
    return means_QD


def _checked(
    combine: Combination, *, fusion: FusionKind | None, depth: int | None, repeat_weight: float | None
) -> Combination:
    if combine not in get_args(Combination):
        raise InputError(f"combine is {combine!r}; {want_one_of(combine, get_args(Combination))}")
    if fusion is not None and fusion not in get_args(FusionKind):
        raise InputError(f"fusion is {fusion!r}; {want_one_of(fusion, get_args(FusionKind))}")
    if depth is not None and depth < 1:
        raise InputError(f"depth is {depth}; want at least 1")
    check_repeat_weight(repeat_weight)
    for name, value, user in (
        ("fusion", fusion, "lists"),
        ("depth", depth, "lists"),
        ("repeat_weight", repeat_weight, "append"),
    ):
        if value is not None and combine != user:
            raise InputError(f'{name} is {value!r} and combine is "{combine}"; want {name} with "{user}" alone')
    return combine
