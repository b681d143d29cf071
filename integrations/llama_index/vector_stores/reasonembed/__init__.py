"""ReasonEmbed's vector store for LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from llama_index.vector_stores.reasonembed.base import ReasonEmbedVectorStore
    from llama_index.vector_stores.reasonembed.chroma import open_chroma
    from llama_index.vector_stores.reasonembed.filters import plain_filter
    from llama_index.vector_stores.reasonembed.nodes import node_of

__all__ = ["ReasonEmbedVectorStore", "node_of", "open_chroma", "plain_filter"]

__getattr__, __dir__ = lazy_face(
    __name__,
    needs=Dependency("llama_index.core", "llama-index-core", "llama-index"),
    renamed={"ReasonEmbedFaissVectorStore": "ReasonEmbedVectorStore"},
)
