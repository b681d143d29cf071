"""Models as folders that other programs load: sentence-transformers, Text Embeddings Inference, Infinity, llama.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.export.layout import write_sentence_transformers_files
    from reasonembed_rag.export.model import ExportKind, save_model
    from reasonembed_rag.export.weights import ExportDtype

__all__ = ["ExportDtype", "ExportKind", "save_model", "write_sentence_transformers_files"]

__getattr__, __dir__ = lazy_face(__name__)
