"""A dense reasoner as a stage: the vectors of queries are moved before they are searched by."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.dense_reasoner import DenseReasoner, check_space
from reasonembed_rag.pipeline.pipeline import class_name
from reasonembed_rag.protocols import Retriever, Usage, VectorRetriever, total_usage
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["ReasonedRetriever"]


class ReasonedRetriever:
    """Search by what a dense reasoner makes of the queries' vectors; documents stay as they are.

    It is a VectorRetriever itself. Raises InputError for a retriever without vectors, SpecMismatchError for a reasoner
    of another model than the retriever's.
    """

    def __init__(self, retriever: Retriever, reasoner: DenseReasoner) -> None:
        if not isinstance(retriever, VectorRetriever):
            raise InputError(
                f"{class_name(retriever)} gives no vectors; want an index, or a DenseRetriever, of {reasoner.model}"
            )
        check_space(reasoner, retriever.vector_spec())
        self.retriever: VectorRetriever = retriever
        self.reasoner = reasoner

    def vector_spec(self) -> EmbeddingSpec:
        """Return what fixes the retriever's vectors."""
        return self.retriever.vector_spec()

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k best documents of each query by its moved vector, exclusions before the cut."""
        return self.search_vectors(self.embed_queries(queries), k=k, excluded_ids=excluded_ids, texts=queries)

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the moved vectors (n, dimension) of queries."""
        return self.reasoner.mapped(self.retriever.embed_queries(texts))

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the retriever's vectors (n, dimension) of texts as documents."""
        return self.retriever.embed_documents(texts)

    def search_vectors(
        self,
        vectors_QD: NDArray[np.float32],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[Hits]:
        """Return what the retriever finds for query vectors, which are moved already."""
        return self.retriever.search_vectors(vectors_QD, k=k, excluded_ids=excluded_ids, texts=texts)

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the retriever's vectors (n, dimension) of documents."""
        return self.retriever.vectors_of(ids)

    def usage(self) -> Usage:
        """Return what the retriever has used."""
        return total_usage([self.retriever])
