"""The files by which sentence-transformers knows modules, pooling, lengths and prompts of a model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["write_sentence_transformers_files"]

_MODULES = "sentence_transformers.models"
_MODES = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}


def write_sentence_transformers_files(
    spec: EmbeddingSpec, folder: Path, *, width: int | None = None, lowercase: bool = False
) -> None:
    """Write modules.json and what it names; `width` is that of the states where vectors are truncated to fewer."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if spec.normalize else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_MODULES}.{kind}"}
        for number, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    width = width or spec.dimension
    pooling = {
        "word_embedding_dimension": width,
        **{f"pooling_mode_{mode}": spec.pooling == own for mode, own in _MODES.items()},
        **{f"pooling_mode_{mode}": False for mode in ("max_tokens", "mean_sqrt_len_tokens")},
        "include_prompt": spec.pool_prompt,
    }
    query, _ = spec.query_affixes(None)
    document, _ = spec.document_affixes()
    contents = {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {
            "max_seq_length": max(spec.max_query_length, spec.max_document_length),
            "do_lower_case": lowercase,
            **_lengths(spec),
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": query, "document": document},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine" if spec.normalize else "dot",
            **({"truncate_dim": spec.dimension} if spec.dimension < width else {}),
        },
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _lengths(spec: EmbeddingSpec) -> dict[str, Any]:
    """Return the lengths of queries and documents where they differ, which releases before 6 do not know."""
    if spec.max_query_length == spec.max_document_length:
        return {}
    return {"query_length": spec.max_query_length, "document_length": spec.max_document_length}
