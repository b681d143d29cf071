"""Filters behind a retriever: what was planted to be found is dropped, and what ranks behind it moves up."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.filters import HitFilter, NearDuplicateFilter, TrustFilter, keep_through
from reasonembed_rag.pipeline.pipeline import class_name, vectors_behind
from reasonembed_rag.pipeline.reranked import DocumentLookup, with_texts
from reasonembed_rag.protocols import DocumentVectors, Retriever, Usage, total_usage

__all__ = ["FilteredRetriever"]

_logger = logging.getLogger(__name__)


class FilteredRetriever:
    """Keep the hits that every filter keeps, judged `depth` at a time from the top; all that is returned was judged.

    Filters without an `embed` get the vectors of the retriever's documents, so that nothing is encoded again.
    `documents` gives the documents of a retriever whose hits are without. Raises InputError for no filter, a depth
    below 2, and a filter without an `embed` where the retriever gives no vectors.
    """

    def __init__(
        self,
        retriever: Retriever,
        filters: Sequence[HitFilter],
        *,
        depth: int = 20,
        documents: DocumentLookup | None = None,
    ) -> None:
        if not filters:
            raise InputError("got no filter; want at least one, such as TrustFilter()")
        if depth < 2:
            raise InputError(f"depth is {depth}; want at least 2 hits that are judged together")
        self._vectors = vectors_behind(retriever) if any(map(_needs_vectors, filters)) else None
        if self._vectors is None and any(map(_needs_vectors, filters)):
            raise InputError(
                f"{class_name(retriever)} gives no vectors of its documents; want a filter with a model of its own "
                "(embed=encoder.encode_documents, model = in a pipeline's file)"
            )
        self.retriever = retriever
        self.filters = tuple(filters)
        self.depth = depth
        self.dropped = 0
        """Hits that the filters dropped so far."""
        self._documents = documents

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return at most k of the hits that are kept of each query, in their order and with their scores.

        One group of `depth` hits more than k holds is judged: where more are dropped, fewer than k are returned. Raises
        InputError for hits without documents.
        """
        asked = self.depth * (ceil(k / self.depth) + 1)
        found = self.retriever.search(queries, k=asked, excluded_ids=excluded_ids)
        return [self._kept(with_texts(hits, self._documents), k) for hits in found]

    def usage(self) -> Usage:
        """Return what the retriever has used."""
        return total_usage([self.retriever])

    def _kept(self, hits: Hits, k: int) -> Hits:
        kept: list[int] = []
        judged = 0
        while judged < len(hits) and len(kept) < k:
            documents = hits.documents[judged : judged + self.depth] if hits.documents is not None else ()
            filters = self.filters if self._vectors is None else _embedding(self.filters, self._vectors, documents)
            kept += [judged + place for place in keep_through(filters, documents)]
            judged += len(documents)
        dropped = judged - len(kept)
        if dropped and not self.dropped:
            names = ", ".join(type(one).__name__ for one in self.filters)
            _logger.warning("%s: %d of %d hits of a query are dropped; `dropped` counts", names, dropped, judged)
        self.dropped += dropped
        return hits.take(kept[:k])


def _needs_vectors(one: HitFilter) -> bool:
    return isinstance(one, TrustFilter | NearDuplicateFilter) and one.embed is None


def _embedding(
    filters: Sequence[HitFilter], vectors: DocumentVectors, documents: Sequence[Document]
) -> list[HitFilter]:
    """Return the filters, those that need vectors with the ones that the retriever has of these documents."""
    id_of = {document.content: document.id for document in documents}
    row_of = {content: row for row, content in enumerate(id_of)}
    stored_ND = vectors.vectors_of(list(id_of.values()))

    def stored(contents: list[str]) -> NDArray[np.float32]:
        rows_ND: NDArray[np.float32] = stored_ND[[row_of[content] for content in contents]]
        return rows_ND

    return [
        replace(one, embed=stored) if isinstance(one, TrustFilter | NearDuplicateFilter) and one.embed is None else one
        for one in filters
    ]
