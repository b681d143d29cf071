"""Chroma through llama-index-vector-stores-chroma, rightly configured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding

from reasonembed_rag.errors import MissingDependencyError
from reasonembed_stores import ChromaStore

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from llama_index.vector_stores.chroma import ChromaVectorStore

__all__ = ["open_chroma"]


def open_chroma(
    embed_model: ReasonEmbedEmbedding,
    where: str | Path | ClientAPI | None = None,
    *,
    collection: str = "reasonembed",
) -> ChromaVectorStore:
    """Open a collection as LlamaIndex's ChromaVectorStore, made in cosine space where it does not exist.

    where is a folder, a Chroma client of yours, or None for memory. ChromaVectorStore 0.6 adds at most 5461 nodes a
    call, keeps the old text of a node that is added again, ignores node ids in a query and gives exp(-distance) as its
    similarity: where that matters use ReasonEmbedFaissVectorStore. Raises StoreError for another space,
    SpecMismatchError for another model's vectors.
    """
    try:
        from llama_index.vector_stores.chroma import ChromaVectorStore
    except ImportError as error:
        raise MissingDependencyError("llama-index-vector-stores-chroma", "llama-index-chroma") from error
    store = ChromaStore.open_or_create(where, collection=collection, spec=embed_model.spec)
    return ChromaVectorStore.from_collection(store.collection)
