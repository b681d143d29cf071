"""Corpora larger than one process: encoded shard by shard, on one machine or on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.scale.encoding import EncodedCorpus, RayOptions, ScaleOptions, encode_to_shards
    from reasonembed_rag.scale.rows import TextColumns
    from reasonembed_rag.scale.sizing import CorpusPlan, plan_corpus
    from reasonembed_rag.scale.vector_shards import VectorBatch, VectorShards

__all__ = [
    "CorpusPlan",
    "EncodedCorpus",
    "RayOptions",
    "ScaleOptions",
    "TextColumns",
    "VectorBatch",
    "VectorShards",
    "encode_to_shards",
    "plan_corpus",
]

__getattr__, __dir__ = lazy_face(__name__)
