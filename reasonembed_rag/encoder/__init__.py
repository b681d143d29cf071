"""The engine: text to vectors."""

from __future__ import annotations

from reasonembed_rag.encoder.encoder import Encoder

__all__ = ["Encoder"]
