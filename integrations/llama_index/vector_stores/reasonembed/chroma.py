"""Open LlamaIndex's ChromaVectorStore with cosine distance and our embeddings."""

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
    """Open a collection as LlamaIndex's ChromaVectorStore; a new one is created with cosine distance.

    where is a folder, a Chroma client, or None for memory. ChromaVectorStore 0.6 adds at most 5461 nodes per call,
    keeps the old text of a node that is added again, overwrites metadata fields named doc_id, document_id and
    ref_doc_id, ignores node ids and modes in a query and returns exp(-distance) as the similarity; where that matters,
    use ReasonEmbedVectorStore.from_store(ChromaStore.open_or_create(where, spec=embed_model.spec)). Raises StoreError
    for another distance, SpecMismatchError for the vectors of another model.
    """
    try:
        from llama_index.vector_stores.chroma import ChromaVectorStore
    except ImportError as error:
        raise MissingDependencyError("llama-index-vector-stores-chroma", "llama-index-chroma") from error
    store = ChromaStore.open_or_create(where, collection=collection, spec=embed_model.spec)
    return ChromaVectorStore.from_collection(store.collection)
