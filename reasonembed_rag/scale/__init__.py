"""Corpora larger than one process: encoded shard by shard, on one machine or on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.scale.encoding import EncodedCorpus, ScaleOptions, encode_to_shards
    from reasonembed_rag.scale.lance_table import check_lance, write_lance
    from reasonembed_rag.scale.ray_pool import RayOptions
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
    "check_lance",
    "encode_to_shards",
    "plan_corpus",
    "write_lance",
]

__getattr__, __dir__ = lazy_face(__name__)
