"""ReasonEmbed's retrievers for LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from llama_index.retrievers.reasonembed.base import ReasonEmbedRetriever
    from llama_index.retrievers.reasonembed.chat import as_chat
    from llama_index.retrievers.reasonembed.deprecated import DefendedRetriever
    from llama_index.retrievers.reasonembed.evaluation import LlamaIndexRag, as_retriever
    from llama_index.retrievers.reasonembed.memory import MemoryQueryEngine
    from llama_index.retrievers.reasonembed.query_transform import ReasonEmbedQueryTransform

__all__ = [
    "DefendedRetriever",
    "LlamaIndexRag",
    "MemoryQueryEngine",
    "ReasonEmbedQueryTransform",
    "ReasonEmbedRetriever",
    "as_chat",
    "as_retriever",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    needs=Dependency("llama_index.core", "llama-index-core", "llama-index"),
    renamed={"LlamaIndexPipeline": "LlamaIndexRag"},
)
