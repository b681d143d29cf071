"""Dense retrieval over documents in memory: an embedder, or two embedding functions, searched exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import EncodingProgress, encode_corpus
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Embedder, Usage
from reasonembed_rag.retrieval.exact import ExactIndex, unit_rows
from reasonembed_rag.retrieval.tokens import TokenMeter
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["DenseRetriever", "EmbeddingFunctions"]


class DenseRetriever:
    """Find documents by the inner product of their vectors with the query's.

    Documents are encoded once, at the first search or by encode(); only their contents reach the model. `instruction`
    is for models whose queries take one; without it they use their default. With a cache folder the vectors are kept
    there, and an interrupted encoding continues.
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
        self._index: ExactIndex | None = None
        self._encoding_seconds: float | None = None
        self._document_meter = TokenMeter()
        self._query_meter = TokenMeter()
        self.instruction = instruction if embedder.spec.takes_instruction else None

    def encode(self) -> None:
        """Encode the documents now, so that no query waits for it; later calls do nothing."""
        self._encoded()

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k nearest documents of each query, exclusions before the cut; ties by id descending."""
        index = self._encoded()
        return index.search(self.embed_queries(queries), k=k, excluded_ids=excluded_ids)

    def vector_spec(self) -> EmbeddingSpec:
        """Return what fixes the vectors."""
        return self._embedder.spec

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of queries, under the retriever's instruction."""
        with self._query_meter.counting(self._embedder):
            return self._embedder.encode_queries(list(texts), instruction=self.instruction)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of texts as documents; their tokens are counted with the queries'."""
        with self._query_meter.counting(self._embedder):
            return self._embedder.encode_documents(list(texts))

    def search_vectors(
        self,
        vectors_QD: NDArray[np.float32],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
        texts: Sequence[str] | None = None,  # noqa: ARG002 - the protocol's
    ) -> list[Hits]:
        """Return the k nearest documents of each query vector (Q, dimension), exclusions before the cut."""
        return self._encoded().search(vectors_QD, k=k, excluded_ids=excluded_ids)

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of documents by their ids; raises InputError for an unknown id."""
        return self._encoded().vectors_of(ids)

    def usage(self) -> Usage:
        """Return the time, tokens and bytes used so far; tokens only for an embedder that counts them."""
        return Usage(
            encoding_seconds=self._encoding_seconds,
            document_tokens=self._document_meter.tokens,
            query_tokens=self._query_meter.tokens,
            index_bytes=self._index.nbytes if self._index else None,
        )

    def _encoded(self) -> ExactIndex:
        if self._index is None:
            start = time.perf_counter()
            with self._document_meter.counting(self._embedder):
                shards = encode_corpus(self._embedder, self._documents, cache=self._cache, progress=self._progress)
            self._encoding_seconds = time.perf_counter() - start
            self._index = ExactIndex(shards, [document.id for document in self._documents])
        return self._index


_BATCH = 2048

_Vectors = Sequence[Sequence[float]]


class EmbeddingFunctions:
    """Find documents by the cosine similarity of what two functions return for documents and for a query.

    Documents are embedded at construction, 2,048 at a time; only their contents reach the functions. Raises InputError
    where a function does not return one finite vector of one length per text.
    """

    def __init__(
        self,
        documents: Sequence[Document],
        *,
        embed_documents: Callable[[list[str]], _Vectors],
        embed_query: Callable[[str], Sequence[float]],
    ) -> None:
        self._embed_query = embed_query
        shards: list[NDArray[np.float32]] = []
        for start in range(0, len(documents), _BATCH):
            contents = [document.content for document in documents[start : start + _BATCH]]
            shards.append(_checked(embed_documents(contents), count=len(contents)))
        self._index = ExactIndex(shards, [document.id for document in documents])

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k documents of highest cosine similarity, exclusions before the cut; ties by id descending."""
        vectors = _checked([self._embed_query(query) for query in queries], count=len(queries))
        return self._index.search(vectors, k=k, excluded_ids=excluded_ids)


def _checked(vectors: _Vectors, *, count: int) -> NDArray[np.float32]:
    """Return an embedding function's vectors as rows of length 1."""
    try:
        rows_ND = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"the embedding function did not return a rectangle of numbers ({error})") from error
    if rows_ND.ndim != 2 or len(rows_ND) != count:
        raise InputError(f"the embedding function returned shape {rows_ND.shape} for {count} texts; want ({count}, D)")
    return unit_rows(rows_ND, name="the embedding function's vectors")
