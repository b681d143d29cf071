"""ReasonEmbed's embedding model for LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from llama_index.embeddings.reasonembed.base import QueryVector, ReasonEmbedEmbedding
    from llama_index.embeddings.reasonembed.reloading import is_local

__all__ = ["QueryVector", "ReasonEmbedEmbedding", "is_local"]

__getattr__, __dir__ = lazy_face(
    __name__,
    needs=Dependency("llama_index.core", "llama-index-core", "llama-index"),
)
