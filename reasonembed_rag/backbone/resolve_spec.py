"""What a model is: its files' word, then the table of known checkpoints, then what its architecture suggests."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from reasonembed_rag.backbone.hub import fingerprint
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

__all__ = ["check_adapter_spec", "is_decoder", "looks_both_ways_itself", "native_type", "resolve_spec"]

_logger = logging.getLogger(__name__)

_BOTH_WAYS = ("_bidirec", "_bidirectional")
"""Endings by which a checkpoint's own code names a decoder that looks in both directions (NVIDIA's llama_bidirec)."""
_TEMPLATE = "Instruct: {instruction}\nQuery: {text}"
_LONGEST = 8192
"""Tokens a text by default where a decoder could take more (ReasonEmbed's own limit)."""

_OF_THE_FORWARD = ("pooling", "attention", "append_eos", "pool_prompt", "normalize", "dimension")
"""What the adapters of one backbone have in common."""
_AFTER_PADDING = {
    "camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
    "xlm-roberta-xl",
}  # fmt: skip
"""Architectures whose first position follows the padding's."""

_LAST: Pooling = "last"
_MEAN: Pooling = "mean"

_Value = TypeVar("_Value")


def native_type(config: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the architecture that transformers knows a config by, and whether its name says both directions."""
    name = str(config.get("model_type", ""))
    for ending in _BOTH_WAYS:
        if name.endswith(ending):
            return name.removesuffix(ending), True
    return name, False


def is_decoder(config: Mapping[str, Any]) -> bool:
    """Return whether a config is one of a decoder: transformers knows it as a causal model, and not as a masked one."""
    from transformers.models.auto import modeling_auto

    kind = native_type(config)[0]
    causal, masked = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return kind in causal and kind not in masked


def looks_both_ways_itself(config: Mapping[str, Any]) -> bool:
    """Return whether transformers, told nothing else, runs a decoder of this config in both directions."""
    return config.get("is_causal") is False or (
        native_type(config)[0] == "gemma3_text" and bool(config.get("use_bidirectional_attention"))
    )


def resolve_spec(
    settings: EncoderSettings, facts: FolderFacts, *, folders: Sequence[Path], dtype: str
) -> EmbeddingSpec:
    """Return the spec of a model whose backbone lies in folders[0] and whose adapters in the others.

    A spec.json of ours counts most (the last adapter's first), then the files, then the table, then the architecture.
    Raises InputError for lengths and dimensions the model does not have.
    """
    written = [folder / "spec.json" for folder in folders if (folder / "spec.json").is_file()]
    if written:
        spec = _written_spec(written[-1])
    else:
        card = known_checkpoint(settings.model) or Checkpoint(hub_id=settings.model)
        spec = _spec_of_facts(settings.model, facts, card)
    longest, widest = _positions(facts.config), _size(facts.config, "hidden_size")
    _within("dimension", spec.dimension, spec.dimension, widest)
    weights = [path for folder in (facts.transformer_folder, *folders[1:]) for path in folder.glob("*.safetensors")]
    return dataclasses.replace(
        spec,
        model=settings.model,
        revision=settings.revision,
        adapter=settings.adapter,
        weights=fingerprint(weights),
        max_query_length=_within("max_query_length", settings.max_query_length, spec.max_query_length, longest),
        max_document_length=_within(
            "max_document_length", settings.max_document_length, spec.max_document_length, longest
        ),
        dimension=_within("truncate_dim", settings.truncate_dim, spec.dimension, spec.dimension),
        dtype=dtype,
    )


def _written_spec(path: Path) -> EmbeddingSpec:
    try:
        return EmbeddingSpec.from_json(path.read_text(encoding="utf-8"))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def check_adapter_spec(name: str, spec: EmbeddingSpec, *, base: EmbeddingSpec) -> EmbeddingSpec:
    """Return an adapter's spec; raise ModelError where it wants another forward than the backbone's other adapters."""
    for field in _OF_THE_FORWARD:
        wanted, got = getattr(base, field), getattr(spec, field)
        if wanted != got:
            raise ModelError(
                f"adapter {name}: its spec.json says {field} {got!r}, the model's {wanted!r}, and one backbone runs in "
                "one way; load this adapter alone: adapter='its folder'"
            )
    return spec


def _within(name: str, asked: int | None, default: int, most: int) -> int:
    chosen = default if asked is None else asked
    if not 1 <= chosen <= most:
        raise InputError(f"{name} is {chosen}; want 1 to {most}, which is what the model has")
    return chosen


def _spec_of_facts(model: str, facts: FolderFacts, card: Checkpoint) -> EmbeddingSpec:
    config = facts.config
    decoder = is_decoder(config)
    positions = _positions(config)
    guess = _TEMPLATE if decoder and not facts.pooling else "{text}"
    template = _settle("query template", facts.query_template, card.query_template, guess, model)
    length = min(positions, _LONGEST)
    return EmbeddingSpec(
        model=model,
        pooling=_settle("pooling", facts.pooling, card.pooling, _LAST if decoder else _MEAN, model),
        attention=_attention(config, card),
        query_template=template,
        document_template=_settle(
            "document template", facts.document_template, card.document_template, "{text}", model
        ),
        default_instruction=(facts.default_instruction or DEFAULT_INSTRUCTION) if "{instruction}" in template else None,
        append_eos=card.append_eos,
        pool_prompt=card.pool_prompt if facts.pool_prompt is None else facts.pool_prompt,
        max_query_length=min(
            _settle("query length", facts.max_length, card.max_query_length, length, model), positions
        ),
        max_document_length=min(
            _settle("document length", facts.max_length, card.max_document_length, length, model), positions
        ),
        normalize=_settle("normalisation", facts.normalize, card.normalize, True, model),
        dimension=_size(config, "hidden_size"),
    )


def _settle(name: str, by_files: _Value | None, by_table: _Value | None, by_default: _Value, model: str) -> _Value:
    if by_files is not None and by_table is not None and by_files != by_table:
        _logger.warning("%s: its files say %s %r, our table %r; the files win", model, name, by_files, by_table)
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
    """Return how many tokens the model has positions for."""
    positions = _size(config, "max_position_embeddings", default=_LONGEST)
    return (
        positions - int(config.get("pad_token_id") or 1) - 1
        if config.get("model_type") in _AFTER_PADDING
        else positions
    )


def _size(config: Mapping[str, Any], name: str, *, default: int | None = None) -> int:
    """Return a size of a config by transformers' common name for it, whatever the architecture's own."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = native_type(config)[0]
    own = CONFIG_MAPPING[kind].attribute_map.get(name, name) if kind in CONFIG_MAPPING else name
    value = config.get(name, config.get(own, default))
    if not isinstance(value, int):
        raise ModelError(f"config.json gives no {name} (model_type {kind!r}); want a text encoder or decoder")
    return value
