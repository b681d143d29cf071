"""Encoders: text to vectors, in this process, on several devices or on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.encoder.batching import distinct, plan_packs
    from reasonembed_rag.encoder.cache import VectorCache
    from reasonembed_rag.encoder.coalescer import Coalescer
    from reasonembed_rag.encoder.corpus import EncodingProgress, encode_corpus
    from reasonembed_rag.encoder.encoder import Encoder
    from reasonembed_rag.encoder.engines import LoadedTokenStates, ModelDescription, load_engine, load_token_states
    from reasonembed_rag.encoder.progress import progress_bar
    from reasonembed_rag.encoder.remote import RemoteEncoder
    from reasonembed_rag.encoder.remote_client import RemoteSettings
    from reasonembed_rag.encoder.shared import (
        CACHE_BYTES,
        EncoderSettings,
        SharedEncoder,
        share_embedder,
        shared_encoder,
    )
    from reasonembed_rag.encoder.splitting import passage_splitter
    from reasonembed_rag.encoder.truncation import (
        TruncationCounts,
        collect_truncations,
        report_truncation,
        truncations_so_far,
    )

__all__ = [
    "CACHE_BYTES",
    "Coalescer",
    "Encoder",
    "EncoderSettings",
    "EncodingProgress",
    "LoadedTokenStates",
    "ModelDescription",
    "RemoteEncoder",
    "RemoteSettings",
    "SharedEncoder",
    "TruncationCounts",
    "VectorCache",
    "collect_truncations",
    "distinct",
    "encode_corpus",
    "load_engine",
    "load_token_states",
    "passage_splitter",
    "plan_packs",
    "progress_bar",
    "report_truncation",
    "share_embedder",
    "shared_encoder",
    "truncations_so_far",
]

__getattr__, __dir__ = lazy_face(__name__)
