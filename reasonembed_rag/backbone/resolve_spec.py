"""Resolve the spec: model files, then known checkpoints, then architecture defaults."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from reasonembed_rag.backbone.fingerprint import weights_fingerprint
from reasonembed_rag.backbone.kinds import is_decoder, native_type, size_in
from reasonembed_rag.backbone.known_models import Checkpoint, known_checkpoint
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_rag.tasks import DEFAULT_INSTRUCTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reasonembed_rag.backbone.model_files import FolderFacts
    from reasonembed_rag.backbone.settings import EncoderSettings
    from reasonembed_rag.spec import Attention, Pooling

__all__ = ["check_adapter_spec", "resolve_spec"]

_logger = logging.getLogger(__name__)

_TEMPLATE = "Instruct: {instruction}\nQuery: {text}"
_LONGEST = 8192
"""Default length limit in tokens for models that could take more (ReasonEmbed's own limit)."""

_COMMON_FIELDS = ("pooling", "attention", "append_eos", "pool_prompt", "normalize", "dimension")
"""Fields in which all adapters of one backbone must agree."""
_AFTER_PADDING = {
    "camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
    "xlm-roberta-xl",
}  # fmt: skip
"""Architectures whose first position comes after the padding position."""

_LAST: Pooling = "last"
_MEAN: Pooling = "mean"

_Value = TypeVar("_Value")


def resolve_spec(
    settings: EncoderSettings, facts: FolderFacts, *, folders: Sequence[Path], dtype: str
) -> EmbeddingSpec:
    """Return the spec of a model with its backbone in folders[0] and its adapters in the others.

    Precedence: our spec.json (the last adapter's first), the model's files, the table of known checkpoints, the
    architecture. Raises InputError for lengths and dimensions beyond the model's.
    """
    written = [folder / "spec.json" for folder in folders if (folder / "spec.json").is_file()]
    if written:
        spec = _written_spec(written[-1])
    else:
        card = known_checkpoint(settings.model) or Checkpoint(hub_id=settings.model)
        spec = _spec_of_facts(settings.model, facts, card)
    max_length, max_dimension = _positions(facts.config), size_in(facts.config, "hidden_size")
    _bounded("dimension", spec.dimension, spec.dimension, max_dimension)
    saved = spec.dimension if written else min(spec.dimension, facts.truncate_dim or spec.dimension)
    weights = [path for folder in (facts.transformer_folder, *folders[1:]) for path in folder.glob("*.safetensors")]
    return dataclasses.replace(
        spec,
        model=settings.model,
        revision=settings.revision,
        adapter=settings.adapter,
        weights=weights_fingerprint(weights),
        max_query_length=_bounded("max_query_length", settings.max_query_length, spec.max_query_length, max_length),
        max_document_length=_bounded(
            "max_document_length", settings.max_document_length, spec.max_document_length, max_length
        ),
        dimension=_bounded("truncate_dim", settings.truncate_dim, saved, spec.dimension),
        dtype=dtype,
    )


def _written_spec(path: Path) -> EmbeddingSpec:
    try:
        return EmbeddingSpec.from_json(path.read_text(encoding="utf-8"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_adapter_spec(name: str, spec: EmbeddingSpec, *, base: EmbeddingSpec) -> EmbeddingSpec:
    """Return an adapter's spec; raises ModelError if it needs another forward than the backbone's."""
    for field in _COMMON_FIELDS:
        wanted, got = getattr(base, field), getattr(spec, field)
        if wanted != got:
            raise ModelError(
                f"adapter {name}: its spec.json has {field} {got!r}, the model {wanted!r}, and adapters of one "
                "backbone share one forward; load this adapter alone: adapter='its folder'"
            )
    return spec


def _bounded(name: str, asked: int | None, default: int, most: int) -> int:
    chosen = default if asked is None else asked
    if not 1 <= chosen <= most:
        raise InputError(f"{name} is {chosen}; want 1 to {most}, the model's limit")
    return chosen


def _spec_of_facts(model: str, facts: FolderFacts, card: Checkpoint) -> EmbeddingSpec:
    config = facts.config
    decoder = is_decoder(config)
    positions = _positions(config)
    guess = _TEMPLATE if decoder and not facts.pooling else "{text}"
    template = _resolve("query template", facts.query_template, card.query_template, guess, model)
    length = min(positions, _LONGEST)
    queries, documents = facts.max_query_length or facts.max_length, facts.max_document_length or facts.max_length
    return EmbeddingSpec(
        model=model,
        pooling=_resolve("pooling", facts.pooling, card.pooling, _LAST if decoder else _MEAN, model),
        attention=_attention(config, card),
        query_template=template,
        document_template=_resolve(
            "document template", facts.document_template, card.document_template, "{text}", model
        ),
        default_instruction=(facts.default_instruction or DEFAULT_INSTRUCTION) if "{instruction}" in template else None,
        append_eos=card.append_eos,
        pool_prompt=card.pool_prompt if facts.pool_prompt is None else facts.pool_prompt,
        max_query_length=min(_resolve("query length", queries, card.max_query_length, length, model), positions),
        max_document_length=min(
            _resolve("document length", documents, card.max_document_length, length, model), positions
        ),
        normalize=_resolve("normalisation", facts.normalize, card.normalize, True, model),
        dimension=size_in(config, "hidden_size"),
    )


def _resolve(name: str, by_files: _Value | None, by_table: _Value | None, by_default: _Value, model: str) -> _Value:
    if by_files is not None and by_table is not None and by_files != by_table:
        _logger.warning(
            "%s: its files give %s %r, our table %r; the files take precedence", model, name, by_files, by_table
        )
    if by_files is not None:
        return by_files
    return by_table if by_table is not None else by_default


def _attention(config: Mapping[str, Any], card: Checkpoint) -> Attention:
    if not is_decoder(config):
        return "bidirectional"
    flags = (config.get("use_bidirectional_attention"), config.get("bidirectional"), native_type(config)[1])
    if any(flags) or config.get("is_causal") is False:
        return "bidirectional"
    return card.attention or "causal"


def _positions(config: Mapping[str, Any]) -> int:
    """Return the number of tokens that the model has positions for."""
    positions = size_in(config, "max_position_embeddings", default=_LONGEST)
    return (
        positions - int(config.get("pad_token_id") or 1) - 1
        if config.get("model_type") in _AFTER_PADDING
        else positions
    )
