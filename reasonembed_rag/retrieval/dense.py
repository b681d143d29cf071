"""An embedder over documents, searched exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import EncodingProgress, encode_corpus, encode_corpus_to_disk
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Embedder, Usage
from reasonembed_rag.retrieval.exact import ExactIndex

__all__ = ["EmbedderRetriever", "EmbeddingFunctions"]


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
        self._index: ExactIndex | None = None
        self._encoding_seconds: float | None = None
        self._document_tokens: int | None = None
        self._query_tokens: int | None = None
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
        tokens = _tokens_encoded(self._embedder)
        vectors = self._embedder.encode_queries(list(queries), instruction=self.instruction)
        used = _since(tokens, _tokens_encoded(self._embedder))
        self._query_tokens = None if used is None else (self._query_tokens or 0) + used
        return index.search(vectors, k=k, excluded_ids=excluded_ids)

    def usage(self) -> Usage:
        """Return time, tokens and bytes used so far; tokens only of an embedder that counts them (tokens_encoded)."""
        return Usage(
            encoding_seconds=self._encoding_seconds,
            document_tokens=self._document_tokens,
            query_tokens=self._query_tokens,
            index_bytes=self._index.nbytes if self._index else None,
        )

    def _encoded(self) -> ExactIndex:
        if self._index is None:
            start, tokens = time.perf_counter(), _tokens_encoded(self._embedder)
            if self._cache is None:
                shards = encode_corpus(self._embedder, self._documents, progress=self._progress)
            else:
                shards = encode_corpus_to_disk(
                    self._embedder, self._documents, folder=self._cache, progress=self._progress
                )
            self._encoding_seconds = time.perf_counter() - start
            self._document_tokens = _since(tokens, _tokens_encoded(self._embedder))
            self._index = ExactIndex(shards, [document.id for document in self._documents])
        return self._index


def _tokens_encoded(embedder: Embedder) -> int | None:
    """Return an embedder's running count of tokens, None where it keeps none."""
    count = getattr(embedder, "tokens_encoded", None)
    return count if isinstance(count, int) else None


def _since(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


_BATCH = 2048
_UNIT = 1e-5
"""How far the square of a length may lie from 1 for a vector to be kept bit for bit."""

_Vectors = Sequence[Sequence[float]]


class EmbeddingFunctions:
    """Find documents by the cosine similarity of what two functions return for documents and for a query.

    Documents are embedded when the object is made, 2,048 at a time; ids never reach the functions. Raises InputError
    where a function returns something else than one finite vector of one length for each text.
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
            shards.append(_unit_rows(embed_documents(contents), count=len(contents)))
        self._index = ExactIndex(shards, [document.id for document in documents])

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k documents of highest cosine similarity, exclusions before the cut; ties by id descending."""
        vectors = _unit_rows([self._embed_query(query) for query in queries], count=len(queries))
        return self._index.search(vectors, k=k, excluded_ids=excluded_ids)


def _unit_rows(vectors: _Vectors, *, count: int) -> NDArray[np.float32]:
    try:
        rows_ND = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"the embedding function returned no rectangle of numbers ({error})") from error
    if rows_ND.ndim != 2 or len(rows_ND) != count:
        raise InputError(f"the embedding function returned shape {rows_ND.shape} for {count} texts; want ({count}, D)")
    squares_N = np.einsum("nd,nd->n", rows_ND, rows_ND)
    off_N = np.flatnonzero(~(np.abs(squares_N - 1.0) <= _UNIT) & (squares_N > 0.0))
    wide_ND = rows_ND[off_N].astype(np.float64)
    rows_ND[off_N] = (wide_ND / np.linalg.norm(wide_ND, axis=1, keepdims=True)).astype(np.float32)
    return rows_ND
