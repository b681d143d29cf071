"""Reranking behind a retriever, and a reranker's scores mixed with the first stage's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.hits import Hit, Hits
from reasonembed_rag.pipeline.fusion import min_max
from reasonembed_rag.protocols import Reranker, Retriever, Usage, total_usage

__all__ = [
    "DocumentLookup",
    "InterpolatedReranker",
    "RerankedRetriever",
    "followed_by",
    "rerank_texts",
    "with_texts",
]

DocumentLookup = Mapping[str, Document] | Callable[[str], Document]
"""From an id to its document: a dict, a store's method."""

_logger = logging.getLogger(__name__)


class RerankedRetriever:
    """Rerank the first `depth` documents that a retriever finds; those behind them keep their order.

    `documents` gives the documents of a retriever whose hits are without. With `fall_back`, queries keep the
    retriever's order where the reranker's chat model cannot be used, which is logged once and counted. Raises
    InputError for a depth below 1.
    """

    def __init__(
        self,
        retriever: Retriever,
        reranker: Reranker,
        *,
        depth: int = 100,
        documents: DocumentLookup | None = None,
        fall_back: bool = False,
    ) -> None:
        if depth < 1:
            raise InputError(f"depth is {depth}; want at least 1")
        self.retriever = retriever
        self.reranker = reranker
        self.depth = depth
        self.fallbacks = 0
        """Queries that kept the retriever's order because the reranker could not be used."""
        self._documents = documents
        self._fall_back = fall_back

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return at most k hits for each query: the reranked ones first, the retriever's other ones behind.

        Exclusions are the retriever's, before the cut. Raises InputError for hits without documents, before anything is
        reranked, and for a reranker that loses or invents hits.
        """
        found = self.retriever.search(queries, k=max(k, self.depth), excluded_ids=excluded_ids)
        heads = [with_texts(hits[: self.depth], self._documents) for hits in found]
        try:
            reranked = self.reranker.rerank(queries, heads)
        except ChatError as error:
            if not self._fall_back:
                raise
            if not self.fallbacks:
                _logger.warning("reranking is left out: %s", error)
            self.fallbacks += len(queries)
            return [hits[:k] for hits in found]
        self._check(heads, reranked)
        return [followed_by(new, hits, k=k) for new, hits in zip(reranked, found, strict=True)]

    def usage(self) -> Usage:
        """Return what the retriever and the reranker have used."""
        return total_usage([self.retriever, self.reranker])

    def _check(self, heads: Sequence[Hits], reranked: Sequence[Hits]) -> None:
        if [sorted(hits.ids) for hits in heads] != [sorted(hits.ids) for hits in reranked]:
            raise InputError(
                f"{type(self.reranker).__name__}.rerank returned other hits than it was given; want the same ones in a "
                "new order, for each query"
            )


class InterpolatedReranker:
    """Rank by weight x the reranker's score + (1 - weight) x the score before, both scaled to run from 0 to 1.

    Scaling is per query, over the hits that are reranked. Raises InputError for a weight outside 0 to 1.
    """

    def __init__(self, reranker: Reranker, *, weight: float = 0.5) -> None:
        if not 0.0 <= weight <= 1.0:
            raise InputError(f"weight is {weight}; want a share of the reranker's score, from 0 to 1")
        self.reranker = reranker
        self.weight = weight

    def rerank(self, queries: Sequence[str], hits: Sequence[Hits], *, k: int | None = None) -> list[Hits]:
        """Return the same hits of each query by descending mixed score, ties by larger id; the first k, or all."""
        reranked = self.reranker.rerank(queries, hits)
        return [self._mixed(before, after, k) for before, after in zip(hits, reranked, strict=True)]

    def usage(self) -> Usage:
        """Return what the reranker has used."""
        return total_usage([self.reranker])

    def _mixed(self, before: Hits, after: Hits, k: int | None) -> Hits:
        first = dict(zip(before.ids, min_max(before.scores).tolist(), strict=True))
        own = min_max(after.scores).tolist()
        mixed = (
            Hit(hit.id, self.weight * score + (1.0 - self.weight) * first[hit.id], hit.document)
            for hit, score in zip(after, own, strict=True)
        )
        return Hits.ranked(mixed, k=k)


def rerank_texts(
    reranker: Reranker, query: str, texts: Sequence[str], *, k: int | None = None
) -> list[tuple[int, float]]:
    """Return the positions of the texts, best first, with the reranker's scores; the first k, or all.

    For frameworks' documents, whose ids may be missing or repeated. Texts come in the order before.
    """
    documents = [Document(str(position), text) for position, text in enumerate(texts)]
    scores = np.arange(len(texts), 0, -1, dtype=np.float32)
    before = Hits(tuple(document.id for document in documents), scores, tuple(documents))
    (after,) = reranker.rerank([query], [before], k=k)
    return [(int(hit.id), hit.score) for hit in after]


def with_texts(hits: Hits, documents: DocumentLookup | None) -> Hits:
    """Return hits with their documents, looked up where they have none; raises InputError where they cannot be."""
    if hits.documents is not None:
        return hits
    if documents is None:
        raise InputError(
            "the retriever's hits have no documents, and this stage reads their texts; want documents=, a mapping or a "
            "function from an id to its Document"
        )
    return Hits(hits.ids, hits.scores, tuple(_looked_up(identity, documents) for identity in hits.ids))


def followed_by(front: Hits, behind: Hits, *, k: int) -> Hits:
    """Return the first k of some hits and, behind them, of those of others that are not among them.

    Scores of the latter are lowered where they would rank before.
    """
    known = set(front.ids)
    rest = behind.take([place for place, identity in enumerate(behind.ids) if identity not in known])
    if k <= len(front) or not len(rest):
        return front[:k]
    documents = None
    if rest.documents is not None and (front.documents is not None or not len(front)):
        documents = (front.documents or ()) + rest.documents
    joined = Hits(front.ids + rest.ids, np.concatenate([front.scores, rest.scores]), documents)
    return joined.reordered(range(min(k, len(joined))), joined.scores.tolist())


def _looked_up(identity: str, documents: DocumentLookup) -> Document:
    try:
        found = documents[identity] if isinstance(documents, Mapping) else documents(identity)
    except KeyError:
        found = None
    if not isinstance(found, Document):
        raise InputError(f"documents has {found!r:.80} for id {identity!r}, which the retriever found; want a Document")
    return found
