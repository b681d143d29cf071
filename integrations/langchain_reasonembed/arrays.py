"""Vectors of any LangChain embeddings as arrays; those of our own embeddings never pass through lists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langchain_reasonembed.embeddings import ReasonEmbedEmbeddings
from reasonembed_rag.errors import InputError
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["adocument_vectors", "aquery_vector", "document_vectors", "query_vector", "spec_of"]


def spec_of(embedding: Embeddings) -> EmbeddingSpec | None:
    """Return the spec of our own embeddings, which loads the model; None for any others."""
    return embedding.spec if isinstance(embedding, ReasonEmbedEmbeddings) else None


def document_vectors(embedding: Embeddings, texts: list[str]) -> NDArray[np.float32]:
    """Return the vectors (n, dimension) of documents."""
    if isinstance(embedding, ReasonEmbedEmbeddings):
        return embedding.encode_documents(texts)
    return _rows(embedding.embed_documents(texts))


async def adocument_vectors(embedding: Embeddings, texts: list[str]) -> NDArray[np.float32]:
    """Like document_vectors, through the embeddings' own async methods."""
    if isinstance(embedding, ReasonEmbedEmbeddings):
        return await embedding.encoder.aencode_documents(texts)
    return _rows(await embedding.aembed_documents(texts))


def query_vector(embedding: Embeddings, text: str, task: str | None, instruction: str | None) -> NDArray[np.float32]:
    """Return the vector (dimension,) of a query; raises InputError for a task that the embeddings cannot take."""
    if isinstance(embedding, ReasonEmbedEmbeddings):
        vector: NDArray[np.float32] = embedding.encode_queries([text], task=task, instruction=instruction)[0]
        return vector
    _check_bare(embedding, task, instruction)
    return np.asarray(embedding.embed_query(text), dtype=np.float32)


async def aquery_vector(
    embedding: Embeddings, text: str, task: str | None, instruction: str | None
) -> NDArray[np.float32]:
    """Like query_vector, through the embeddings' own async methods."""
    if isinstance(embedding, ReasonEmbedEmbeddings):
        vector = await embedding.aembed_query(text, task=task, instruction=instruction)
    else:
        _check_bare(embedding, task, instruction)
        vector = await embedding.aembed_query(text)
    return np.asarray(vector, dtype=np.float32)


def _check_bare(embedding: Embeddings, task: str | None, instruction: str | None) -> None:
    if task is not None or instruction is not None:
        raise InputError(f"{type(embedding).__name__} takes no task and no instruction; leave them out")


def _rows(vectors: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    return np.asarray(vectors, dtype=np.float32).reshape(len(vectors), -1) if vectors else np.empty((0, 1), np.float32)
