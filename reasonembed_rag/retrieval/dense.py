"""An embedder over documents held in memory, searched exactly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.embedder import Embedder
from reasonembed_rag.search import Hits, exact_search

__all__ = ["EmbedderRetriever"]


class EmbedderRetriever:
    """Find documents by the inner product of their vectors with the query's; documents are encoded once, when needed.

    Only contents are encoded: ids never reach the model. `instruction` goes to models whose queries take one; without
    it they use their default one.
    """

    def __init__(
        self,
        embedder: Embedder,
        documents: Sequence[Document],
        *,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> None:
        self._embedder = embedder
        self._contents = [document.content for document in documents]
        self._ids = [document.id for document in documents]
        self._show_progress = show_progress
        self.instruction = instruction if embedder.spec.takes_instruction else None

    @cached_property
    def document_vectors(self) -> NDArray[np.float32]:
        """The documents' vectors (N, D) in their order."""
        return self._embedder.encode_documents(self._contents, show_progress=self._show_progress)

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k nearest documents of each query, exclusions before the cut; ties by id descending."""
        vectors = self._embedder.encode_queries(list(queries), instruction=self.instruction)
        return exact_search(vectors, self.document_vectors, self._ids, k=k, excluded_ids=excluded_ids)
