"""Two functions that embed, a framework's embedding class say, searched exactly by cosine similarity."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.retrieval.exact import ExactIndex
from reasonembed_rag.search import Hits

__all__ = ["EmbeddingFunctions"]

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
