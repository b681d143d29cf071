"""ReasonEmbed's retriever for LlamaIndex."""

from llama_index.retrievers.reasonembed.base import ReasonEmbedRetriever

__all__ = ["ReasonEmbedRetriever"]
