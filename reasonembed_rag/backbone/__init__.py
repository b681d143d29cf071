"""A transformer from tokens to states, shared by the encoder and training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.backbone.allocator import bound_kernel_cache, give_back_freed
    from reasonembed_rag.backbone.architectures import UnsupportedError, read_blueprint
    from reasonembed_rag.backbone.attention import AttentionRule, KeyValue, attend
    from reasonembed_rag.backbone.check_texts import self_check_sequences, typical_sequences
    from reasonembed_rag.backbone.engine import Engine, RowVectors
    from reasonembed_rag.backbone.gpu import has_gpu
    from reasonembed_rag.backbone.hub import (
        BASE_MODEL,
        DEFAULT_MODEL,
        LARGE_BASE_MODEL,
        LARGE_MODEL,
        OWN_MODELS,
        find_model,
    )
    from reasonembed_rag.backbone.kinds import is_decoder, is_natively_bidirectional
    from reasonembed_rag.backbone.known_models import ALIASES, Checkpoint, known_checkpoint, known_checkpoints
    from reasonembed_rag.backbone.layout import Bucket, Layout
    from reasonembed_rag.backbone.linears import Linear, OneDnnLinear, PlainLinear, activate, make_fast, make_live
    from reasonembed_rag.backbone.loading import LoadedModel, load_model
    from reasonembed_rag.backbone.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LoraDelta, lora_changes
    from reasonembed_rag.backbone.lora_switch import AdapterSwitch
    from reasonembed_rag.backbone.marks import cache_folder, is_marked, mark
    from reasonembed_rag.backbone.model_files import read_folder, read_json, read_transformer_config
    from reasonembed_rag.backbone.packed import Blueprint, Layer, PackedForward, finish_layer
    from reasonembed_rag.backbone.padded import PaddedForward
    from reasonembed_rag.backbone.pairs import PairTokenizer
    from reasonembed_rag.backbone.plain_decoder import PLAIN, PlainDecoder
    from reasonembed_rag.backbone.pooling import finish
    from reasonembed_rag.backbone.processor import (
        bfloat16_slowdown,
        emulates_bfloat16,
        instruction_set,
        prepacks,
        warn_of_emulation,
    )
    from reasonembed_rag.backbone.segments import SEGMENT, read_segments, split_halfway
    from reasonembed_rag.backbone.selfcheck import (
        FLOORS,
        disagreement,
        is_verified,
        remember_verified,
    )
    from reasonembed_rag.backbone.settings import CACHE_BYTES, EncoderSettings
    from reasonembed_rag.backbone.source import ModelSource, find_bare_source, find_source, load_tokenizer, read_spec
    from reasonembed_rag.backbone.tensors import (
        read_matrix_rows,
        read_tensor_file,
        read_tensors,
        stored_tensors,
        weight_files,
    )
    from reasonembed_rag.backbone.tokenizer import TextTokenizer, Tokens
    from reasonembed_rag.backbone.torch_lora import read_adapter

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "ALIASES",
    "BASE_MODEL",
    "CACHE_BYTES",
    "DEFAULT_MODEL",
    "FLOORS",
    "LARGE_BASE_MODEL",
    "LARGE_MODEL",
    "OWN_MODELS",
    "PLAIN",
    "SEGMENT",
    "AdapterSwitch",
    "AttentionRule",
    "Blueprint",
    "Bucket",
    "Checkpoint",
    "EncoderSettings",
    "Engine",
    "KeyValue",
    "Layer",
    "Layout",
    "Linear",
    "LoadedModel",
    "LoraDelta",
    "ModelSource",
    "OneDnnLinear",
    "PackedForward",
    "PaddedForward",
    "PairTokenizer",
    "PlainDecoder",
    "PlainLinear",
    "RowVectors",
    "TextTokenizer",
    "Tokens",
    "UnsupportedError",
    "activate",
    "attend",
    "bfloat16_slowdown",
    "bound_kernel_cache",
    "cache_folder",
    "disagreement",
    "emulates_bfloat16",
    "find_bare_source",
    "find_model",
    "find_source",
    "finish",
    "finish_layer",
    "give_back_freed",
    "has_gpu",
    "instruction_set",
    "is_decoder",
    "is_marked",
    "is_natively_bidirectional",
    "is_verified",
    "known_checkpoint",
    "known_checkpoints",
    "load_model",
    "load_tokenizer",
    "lora_changes",
    "make_fast",
    "make_live",
    "mark",
    "prepacks",
    "read_adapter",
    "read_blueprint",
    "read_folder",
    "read_json",
    "read_matrix_rows",
    "read_segments",
    "read_spec",
    "read_tensor_file",
    "read_tensors",
    "read_transformer_config",
    "remember_verified",
    "self_check_sequences",
    "split_halfway",
    "stored_tensors",
    "typical_sequences",
    "warn_of_emulation",
    "weight_files",
]

__getattr__, __dir__ = lazy_face(__name__)
