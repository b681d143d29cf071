"""Exact retrieval by late interaction, for corpora whose token vectors fit in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Usage
from reasonembed_rag.rerank.token_vectors import max_similarity

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.documents import Document
    from reasonembed_rag.rerank.late_interaction import LateInteraction
    from reasonembed_rag.rerank.token_vectors import TokenVectors

__all__ = ["LateInteractionRetriever"]


class LateInteractionRetriever:
    """Find documents by MaxSim with every document; a Retriever.

    Token vectors are computed at construction, or taken from `vectors`. A document takes about 100 times the memory of
    one vector: for larger corpora rerank another retriever's hits, or use PyLate's own index.
    """

    def __init__(
        self, model: LateInteraction, documents: Sequence[Document], *, vectors: TokenVectors | None = None
    ) -> None:
        """Encode the documents, or check their vectors.

        Raises InputError for vectors of another model, or that lack a document or hold another text of it.
        """
        self._model = model
        if vectors is None:
            vectors = model.encode_corpus(documents)
        elif vectors.model != model.digest:
            raise InputError("the token vectors are of another model, or of other settings; encode them again")
        stale = next((document.id for document in documents if vectors.find(document) is None), None)
        if stale is not None or len(vectors.ids) != len(documents):
            raise InputError(
                f"the token vectors are of {len(vectors.ids)} documents, got {len(documents)}; {stale!r} is missing or "
                "has changed: encode them again"
            )
        self._vectors = vectors
        by_id = {document.id: document for document in documents}
        self._documents = [by_id[name] for name in vectors.ids]
        self._place_N = np.argsort(np.argsort(np.asarray(vectors.ids, dtype=object), kind="stable"), kind="stable")

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return the k documents of the highest MaxSim, exclusions before the cut; ties by id descending."""
        if k < 1:
            raise InputError(f"k is {k}; want at least 1")
        if excluded_ids is not None and len(excluded_ids) != len(queries):
            raise InputError(f"got {len(queries)} queries and {len(excluded_ids)} excluded_ids; want one per query")
        left = excluded_ids or [()] * len(queries)
        encoded = self._model.encode_queries(list(queries)) if queries else []
        return [self._best(query, k=k, excluded=set(out)) for query, out in zip(encoded, left, strict=True)]

    def usage(self) -> Usage:
        """Return the tokens computed so far and the bytes of the token vectors."""
        return replace(self._model.usage(), index_bytes=self._vectors.vectors.nbytes)

    def _best(self, query_QD: NDArray[np.float32], *, k: int, excluded: set[str]) -> Hits:
        ids = self._vectors.ids
        scores = max_similarity(query_QD, self._vectors.vectors, self._vectors.offsets)
        order = np.lexsort((self._place_N, scores))[::-1]
        rows = [int(row) for row in order[: k + len(excluded)] if ids[row] not in excluded][:k]
        return Hits(tuple(ids[row] for row in rows), scores[rows], tuple(self._documents[row] for row in rows))
