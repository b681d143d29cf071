"""An embedder over documents, searched exactly."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

from reasonembed_rag.documents import Document
from reasonembed_rag.embedder import Embedder
from reasonembed_rag.retrieval.corpus_vectors import EncodingProgress, encode_corpus, encode_corpus_to_disk
from reasonembed_rag.retrieval.exact import ExactIndex
from reasonembed_rag.search import Hits

__all__ = ["EmbedderRetriever"]


class EmbedderRetriever:
    """Find documents by the inner product of their vectors with the query's; documents are encoded once, when needed.

    Only contents are encoded: ids never reach the model. `instruction` goes to models whose queries take one; without
    it they use their default one. With a cache folder the vectors are kept there and an interrupted encoding goes on.
    """

    def __init__(
        self,
        embedder: Embedder,
        documents: Sequence[Document],
        *,
        instruction: str | None = None,
        cache: Path | None = None,
        progress: EncodingProgress | None = None,
    ) -> None:
        self._embedder = embedder
        self._documents = documents
        self._cache = cache
        self._progress = progress
        self.instruction = instruction if embedder.spec.takes_instruction else None

    @cached_property
    def index(self) -> ExactIndex:
        """The documents' vectors, encoded at first use."""
        if self._cache is None:
            shards = encode_corpus(self._embedder, self._documents, progress=self._progress)
        else:
            shards = encode_corpus_to_disk(self._embedder, self._documents, folder=self._cache, progress=self._progress)
        return ExactIndex(shards, [document.id for document in self._documents])

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k nearest documents of each query, exclusions before the cut; ties by id descending."""
        vectors = self._embedder.encode_queries(list(queries), instruction=self.instruction)
        return self.index.search(vectors, k=k, excluded_ids=excluded_ids)
