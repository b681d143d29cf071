"""Encoders as ONNX graphs, run by ONNX Runtime without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.graph.engine import OnnxEngine
    from reasonembed_rag.graph.session import thread_count
    from reasonembed_rag.graph.standalone import write_standalone
    from reasonembed_rag.graph.weights import EncoderWeights
    from reasonembed_rag.graph.writing import supports

__all__ = ["EncoderWeights", "OnnxEngine", "supports", "thread_count", "write_standalone"]

__getattr__, __dir__ = lazy_face(__name__)
