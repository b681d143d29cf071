"""ReasonEmbed's embedding model for LlamaIndex."""

from llama_index.embeddings.reasonembed.base import ReasonEmbedEmbedding

__all__ = ["ReasonEmbedEmbedding"]
