"""ReasonEmbed's node parser for LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from llama_index.node_parser.reasonembed.base import ReasonEmbedNodeParser

__all__ = ["ReasonEmbedNodeParser"]

__getattr__, __dir__ = lazy_face(
    __name__,
    needs=Dependency("llama_index.core", "llama-index-core", "llama-index"),
)
