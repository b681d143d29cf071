"""ReasonEmbed's retrievers for LlamaIndex."""

from reasonembed_rag.errors import MissingDependencyError

try:
    from llama_index.retrievers.reasonembed.base import ReasonEmbedRetriever
    from llama_index.retrievers.reasonembed.defended import DefendedRetriever
except ModuleNotFoundError as error:
    if error.name != "llama_index.core":
        raise
    package, extra = "llama-index-core", "llama-index"
    raise MissingDependencyError(package, extra) from error

__all__ = ["DefendedRetriever", "ReasonEmbedRetriever"]
