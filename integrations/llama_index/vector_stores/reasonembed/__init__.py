"""ReasonEmbed's vector store for LlamaIndex."""

from reasonembed_rag.errors import MissingDependencyError

try:
    from llama_index.vector_stores.reasonembed.base import ReasonEmbedFaissVectorStore
except ModuleNotFoundError as error:
    if error.name != "llama_index.core":
        raise
    package, extra = "llama-index-core", "llama-index"
    raise MissingDependencyError(package, extra) from error

__all__ = ["ReasonEmbedFaissVectorStore"]
