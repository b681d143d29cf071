"""Rerankers that are models: cross-encoders, yes/no decoders and late interaction, run by the encoder's engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.rerank.cross_encoder import CrossEncoder

__all__ = ["CrossEncoder"]

__getattr__, __dir__ = lazy_face(__name__)
