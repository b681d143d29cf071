"""Settings of known checkpoints that their own files do not give.

Taken from model cards and evaluation code; a checkpoint's files take precedence over this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasonembed_rag.spec import Attention, Pooling

__all__ = ["ALIASES", "Checkpoint", "known_checkpoint", "known_checkpoints"]

_SPACED = "Instruct: {instruction}\nQuery: {text}"
_CLOSE = "Instruct: {instruction}\nQuery:{text}"
_EMBED_QUERY = "<|user|>\n{instruction}\n<|embed|>\n{text}"
_EMBED_DOCUMENT = "<|embed|>\n{text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A published checkpoint; None leaves a setting to its files."""

    hub_id: str
    alias: str | None = None
    pooling: Pooling | None = None
    attention: Attention | None = None
    query_template: str | None = None
    document_template: str | None = None
    append_eos: bool = False
    pool_prompt: bool = True
    normalize: bool | None = None
    max_query_length: int | None = None
    max_document_length: int | None = None
    note: str = ""


def _reason_embed(name: str, alias: str) -> Checkpoint:
    return Checkpoint(
        hub_id=f"hanhainebula/{name}",
        alias=alias,
        pooling="last",
        query_template=_SPACED,
        max_query_length=8192,
        max_document_length=8192,
        note="Redapter" if "basic" not in name else "plain InfoNCE, the paper's control",
    )


def _instruct(hub_id: str, alias: str, template: str = _SPACED, note: str = "", **settings: Any) -> Checkpoint:
    return Checkpoint(hub_id=hub_id, alias=alias, pooling="last", query_template=template, note=note, **settings)


def _embed_tag(hub_id: str, alias: str, note: str, *, query: int, document: int) -> Checkpoint:
    return Checkpoint(
        hub_id=hub_id,
        alias=alias,
        pooling="mean",
        attention="bidirectional",
        query_template=_EMBED_QUERY,
        document_template=_EMBED_DOCUMENT,
        pool_prompt=False,
        max_query_length=query,
        max_document_length=document,
        note=note,
    )


_CHECKPOINTS = (
    _reason_embed("reason-embed-qwen3-8b-0928", "reason-embed-qwen3-8b"),
    _reason_embed("reason-embed-qwen3-4b-0928", "reason-embed-qwen3-4b"),
    _reason_embed("reason-embed-llama-3.1-8b-0928", "reason-embed-llama-3.1-8b"),
    _reason_embed("reason-embed-basic-qwen3-8b-0928", "reason-embed-basic-qwen3-8b"),
    _reason_embed("reason-embed-basic-qwen3-4b-0928", "reason-embed-basic-qwen3-4b"),
    _reason_embed("reason-embed-basic-llama-3.1-8b-0928", "reason-embed-basic-llama-3.1-8b"),
    _instruct("BAAI/bge-reasoner-embed-qwen3-8b-0923", "bge-reasoner-embed-qwen3-8b", note="InfoNCE control of the 8B"),
    _instruct("Qwen/Qwen3-Embedding-0.6B", "qwen3-embedding-0.6b", _CLOSE, "Matryoshka; its tokenizer appends EOS"),
    _instruct("Qwen/Qwen3-Embedding-4B", "qwen3-embedding-4b", _CLOSE, "Matryoshka; its tokenizer appends EOS"),
    _instruct("Qwen/Qwen3-Embedding-8B", "qwen3-embedding-8b", _CLOSE, "Matryoshka; its tokenizer appends EOS"),
    _instruct(
        "AQ-MedAI/Diver-Retriever-4B", "diver-retriever-4b", _CLOSE, document_template="Represent this text:{text}"
    ),
    _instruct(
        "AQ-MedAI/Diver-Retriever-1.7B", "diver-retriever-1.7b", _CLOSE, document_template="Represent this text:{text}"
    ),
    _instruct(
        "AQ-MedAI/Diver-Retriever-0.6B", "diver-retriever-0.6b", _CLOSE, document_template="Represent this text:{text}"
    ),
    _instruct(
        "Alibaba-NLP/gte-Qwen2-7B-instruct",
        "gte-qwen2-7b-instruct",
        note="attention in both directions",
        attention="bidirectional",
        append_eos=True,
    ),
    _instruct(
        "intfloat/e5-mistral-7b-instruct", "e5-mistral-7b-instruct", append_eos=True, max_query_length=4096,
        max_document_length=4096,
    ),
    _instruct(
        "Linq-AI-Research/Linq-Embed-Mistral", "linq-embed-mistral", append_eos=True, max_query_length=4096,
        max_document_length=4096,
    ),
    _instruct(
        "Salesforce/SFR-Embedding-Mistral", "sfr-embedding-mistral", append_eos=True, max_query_length=4096,
        max_document_length=4096,
    ),
    _embed_tag(
        "reasonir/ReasonIR-8B", "reasonir-8b", "non-commercial; run with our own mask", query=8192, document=8192
    ),
    _embed_tag("GritLM/GritLM-7B", "gritlm-7b", "run with our own mask; BRIGHT's lengths", query=256, document=2048),
    Checkpoint(
        hub_id="nvidia/llama-nv-embed-reasoning-3b",
        alias="llama-nv-embed-reasoning-3b",
        attention="bidirectional",
        note="non-commercial; template and pooling from its own files",
    ),
    Checkpoint(hub_id="BAAI/bge-m3", alias="bge-m3", pooling="cls"),
    Checkpoint(
        hub_id="BAAI/bge-large-en-v1.5",
        alias="bge-large-en-v1.5",
        pooling="cls",
        query_template="Represent this sentence for searching relevant passages: {text}",
    ),
    Checkpoint(
        hub_id="facebook/contriever-msmarco",
        alias="contriever-msmarco",
        pooling="mean",
        normalize=False,
        note="inner product, not normalised",
    ),
    Checkpoint(hub_id="sentence-transformers/all-MiniLM-L6-v2", alias="all-minilm-l6-v2", pooling="mean"),
    Checkpoint(hub_id="sentence-transformers/all-mpnet-base-v2", alias="all-mpnet-base-v2", pooling="mean"),
)  # fmt: skip

ALIASES: Mapping[str, str] = MappingProxyType({card.alias: card.hub_id for card in _CHECKPOINTS if card.alias})
_BY_HUB_ID = {card.hub_id.lower(): card for card in _CHECKPOINTS}


def known_checkpoints() -> tuple[Checkpoint, ...]:
    """Return the table."""
    return _CHECKPOINTS


def known_checkpoint(name: str) -> Checkpoint | None:
    """Return the entry of an alias or hub id; None for any other name."""
    return _BY_HUB_ID.get(ALIASES.get(name, name).lower())
