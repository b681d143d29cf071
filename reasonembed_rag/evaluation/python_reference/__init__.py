"""python_reference: a small benchmark of reasoning-intensive retrieval that needs only Python; see README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.evaluation.python_reference.corpus import python_reference_documents
    from reasonembed_rag.evaluation.python_reference.questions import load_python_reference

__all__ = ["load_python_reference", "python_reference_documents"]

__getattr__, __dir__ = lazy_face(__name__)
