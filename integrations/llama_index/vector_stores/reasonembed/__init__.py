"""ReasonEmbed's vector store for LlamaIndex."""

from llama_index.vector_stores.reasonembed.base import ReasonEmbedFaissVectorStore

__all__ = ["ReasonEmbedFaissVectorStore"]
