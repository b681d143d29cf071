"""Passage splitters sized by a model: its own tokens, its window less the template of documents."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import PassageSplitter, estimated_spans
from reasonembed_rag.protocols import Embedder

if TYPE_CHECKING:
    from reasonembed_rag.backbone import EncoderSettings, TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["passage_splitter", "splitter_by_settings", "splitter_by_tokenizer"]

_logger = logging.getLogger(__name__)

_TARGET = 256
"""Tokens of a passage where the window is larger: a passage of many pages has one vector for all that it says."""
_SPECIAL_TOKENS = 4
"""Room left for special tokens where the tokenizer is unknown."""


@runtime_checkable
class _Splits(Protocol):
    def passage_splitter(self, *, tokens: int | None = None, overlap: int = 0) -> PassageSplitter:
        """Return a splitter into passages that the model reads whole."""


def passage_splitter(
    model: Embedder | EncoderSettings | str, *, tokens: int | None = None, overlap: int = 0
) -> PassageSplitter:
    """Return a splitter into passages that a model reads whole: an embedder, or a model by settings or name.

    `tokens` is the target for a passage with its headings, by default four fifths of what the model reads and at most
    256; `overlap` the number of tokens repeated from the passage before. Weights are not loaded for it. For an embedder
    without a method passage_splitter and for a server without a tokenizer, tokens are estimated (at most four letters
    of a word each), and a warning says so once. Raises InputError for more tokens than the model reads and for an
    overlap of more than half of them.
    """
    from reasonembed_rag.backbone import EncoderSettings

    if isinstance(model, str):
        model = EncoderSettings(model=model)
    if isinstance(model, EncoderSettings):
        from reasonembed_rag.encoder.shared import shared_encoder

        return shared_encoder(model).passage_splitter(tokens=tokens, overlap=overlap)
    if isinstance(model, _Splits):
        return model.passage_splitter(tokens=tokens, overlap=overlap)
    if not isinstance(model, Embedder):
        raise InputError(f"model is {type(model).__name__}; want an embedder, EncoderSettings or the name of a model")
    return splitter_by_tokenizer(None, model.spec, tokens=tokens, overlap=overlap)


def splitter_by_settings(settings: EncoderSettings, *, tokens: int | None, overlap: int) -> PassageSplitter:
    """Return the splitter of a local model; only its tokenizer and small files are read."""
    from reasonembed_rag.backbone import load_tokenizer, read_spec

    spec = read_spec(settings)
    tokenizer = load_tokenizer(settings.model, append_eos=spec.append_eos, revision=settings.revision)
    return splitter_by_tokenizer(tokenizer, spec, tokens=tokens, overlap=overlap)


def splitter_by_tokenizer(
    tokenizer: TextTokenizer | None, spec: EmbeddingSpec, *, tokens: int | None, overlap: int
) -> PassageSplitter:
    """Return the splitter for documents of a spec; without a tokenizer tokens are estimated, and a warning says so."""
    before, after = spec.document_affixes()
    if tokenizer is None:
        _warn_of_estimates(spec.model)
        spans, taken = estimated_spans, _SPECIAL_TOKENS + sum(map(len, estimated_spans([before, after])))
        limit = spec.max_document_length - taken
    else:
        spans = functools.partial(tokenizer.spans, before=before, after=after)
        limit = tokenizer.room(before=before, after=after, max_length=spec.max_document_length)
    if limit < 1:
        raise InputError(
            f"max_document_length is {spec.max_document_length}, and template and special tokens alone take "
            f"{spec.max_document_length - limit}; want a larger max_document_length"
        )
    target = min(_TARGET, max(1, limit * 4 // 5)) if tokens is None else tokens
    return PassageSplitter(spans, limit=limit, target=target, overlap=overlap)


@functools.cache
def _warn_of_estimates(model: str) -> None:
    _logger.warning(
        "%s: its tokenizer is not known here, so the tokens of passages are estimated and some may be truncated; give "
        "the embedder a method passage_splitter, or a server's settings a tokenizer",
        model,
    )
