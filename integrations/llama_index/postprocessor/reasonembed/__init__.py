"""ReasonEmbed's node postprocessors for LlamaIndex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import Dependency, lazy_face

if TYPE_CHECKING:
    from llama_index.postprocessor.reasonembed.base import ReasonEmbedPostprocessor
    from llama_index.postprocessor.reasonembed.rerank import ReasonEmbedRerank

__all__ = ["ReasonEmbedPostprocessor", "ReasonEmbedRerank"]

__getattr__, __dir__ = lazy_face(
    __name__,
    needs=Dependency("llama_index.core", "llama-index-core", "llama-index"),
)
