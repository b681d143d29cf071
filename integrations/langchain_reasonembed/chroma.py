"""Open langchain-chroma's Chroma with cosine distance and our embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from langchain_reasonembed.embeddings import ReasonEmbedEmbeddings
from reasonembed_rag.errors import MissingDependencyError
from reasonembed_stores import ChromaStore

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from langchain_chroma import Chroma

__all__ = ["open_chroma"]


def open_chroma(
    embedding: ReasonEmbedEmbeddings,
    where: str | Path | ClientAPI | None = None,
    *,
    collection: str = "reasonembed",
) -> Chroma:
    """Open a collection as langchain-chroma's Chroma; a new one is created with cosine distance.

    where is a folder, a Chroma client, or None for memory. langchain-chroma 1.1 adds at most 5461 documents per call,
    keeps the old metadata fields of a document that is added again, refuses dates in metadata, and embeds in a thread;
    where that matters, use ReasonEmbedVectorStore(embedding, ChromaStore.open_or_create(where, spec=embedding.spec)).
    Raises StoreError for another distance, SpecMismatchError for the vectors of another model.
    """
    try:
        from langchain_chroma import Chroma
    except ImportError as error:
        raise MissingDependencyError("langchain-chroma", "langchain-chroma") from error
    store = ChromaStore.open_or_create(where, collection=collection, spec=embedding.spec)
    return Chroma(
        collection_name=collection,
        embedding_function=embedding,
        client=store.client,
        create_collection_if_not_exists=False,
        relevance_score_fn=lambda distance: 1.0 - distance / 2.0,
    )
