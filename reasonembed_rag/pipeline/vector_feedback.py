"""Vector feedback: search again by the query's vector moved towards those of the best documents (Rocchio)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.pipeline import class_name
from reasonembed_rag.protocols import Retriever, Usage, VectorRetriever, total_usage

__all__ = ["VectorFeedback"]


class VectorFeedback:
    """Search by a q + (1 - a) m, m being the mean of the vectors of the `depth` best documents for the query q.

    Pseudo-relevance feedback without a chat model: what such a stage must beat. a is `query_weight`, 1 for the bare
    query. Raises InputError for a retriever without vectors, a depth below 1 and a weight outside 0 to 1.
    """

    def __init__(self, retriever: Retriever, *, depth: int = 3, query_weight: float = 0.8) -> None:
        if not isinstance(retriever, VectorRetriever):
            raise InputError(
                f"{class_name(retriever)} gives no vectors; want an index, a DenseRetriever, such as a model over a "
                "task's documents, or expansion by feedback"
            )
        if depth < 1:
            raise InputError(f"depth is {depth}; want at least 1")
        if not 0.0 <= query_weight <= 1.0:
            raise InputError(f"query_weight is {query_weight}; want a number from 0 to 1")
        self.retriever: VectorRetriever = retriever
        self.depth = depth
        self.query_weight = query_weight

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return at most k hits of each query; its excluded documents are neither found nor fed back."""
        vectors_QD = self.retriever.embed_queries(queries)
        first = self.retriever.search_vectors(vectors_QD, k=self.depth, excluded_ids=excluded_ids, texts=queries)
        moved_QD = vectors_QD.astype(np.float64)
        for place, hits in enumerate(first):
            if len(hits):
                mean_D = self.retriever.vectors_of(hits.ids).mean(axis=0, dtype=np.float64)
                moved_QD[place] = self.query_weight * moved_QD[place] + (1.0 - self.query_weight) * mean_D
        moved = moved_QD.astype(np.float32)
        return self.retriever.search_vectors(moved, k=k, excluded_ids=excluded_ids, texts=queries)

    def usage(self) -> Usage:
        """Return what the retriever has used."""
        return total_usage([self.retriever])
