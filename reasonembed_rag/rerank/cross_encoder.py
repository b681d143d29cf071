"""Cross-encoders: a query and a document read together by one model, whose only label is the score."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from reasonembed_rag.backbone import EncoderSettings, find_bare_source, find_model, read_transformer_config
from reasonembed_rag.encoder import distinct, load_engine, report_truncation
from reasonembed_rag.errors import ModelError
from reasonembed_rag.rerank.heads import head_pooling, read_head
from reasonembed_rag.rerank.ordering import check_pairs
from reasonembed_rag.rerank.pair_scorer import PairScorer
from reasonembed_rag.rerank.states import PooledStates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import PairTokenizer
    from reasonembed_rag.rerank.heads import Head
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["CrossEncoder"]

_WINDOW = 4096
"""Pairs planned at once: enough to sort well by length, few enough that their tokens take little memory."""


@dataclass(frozen=True, slots=True)
class PairTokens:
    """Token ids of pairs, each of its own length."""

    sequences: list[NDArray[np.int32]]
    truncated: int
    """Number of pairs longer than the limit."""
    unread: int
    """Number of their tokens beyond it."""


class CrossEncoder(PairScorer):
    """Score pairs of a query and a document with a sequence-classification model of one label; a Reranker.

    Build it with from_pretrained. Scores are logits: any number, higher is better; a sigmoid of them is for display.
    """

    def __init__(
        self, spec: EmbeddingSpec, tokenizer: PairTokenizer, states: PooledStates, head: Head, *, max_length: int
    ) -> None:
        super().__init__(spec, states)
        self._tokenizer, self._head = tokenizer, head
        self._max_length = max_length

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        backend: Literal["auto", "torch", "onnx"] = "auto",
        max_length: int | None = None,
        token_budget: int | None = None,
    ) -> CrossEncoder:
        """Load a cross-encoder: a folder in transformers' or sentence-transformers' layout, or a hub id.

        dtype and backend are the encoder's: ONNX Runtime for BERT's kind on a CPU in float32 or int8, torch for all
        else. max_length bounds the tokens of a pair, special tokens included; token_budget those of one forward pass.
        Raises ModelError for a model that cannot be loaded and for one without exactly one label, InputError for
        settings that it does not support, MissingDependencyError for a model that needs torch where that is missing.
        """
        settings = EncoderSettings(
            model=os.fspath(name_or_path),
            revision=revision,
            device=device,
            dtype=dtype,
            backend=backend,
            max_document_length=max_length,
        )
        config = read_transformer_config(find_model(settings.model, revision=revision))
        try:
            pooling = head_pooling(config)
        except ModelError as error:
            raise ModelError(f"{settings.model}: {error}") from error
        source = find_bare_source(settings, pooling=pooling, pairs=True)
        head = read_head(source)
        loaded = load_engine(settings, source=source)
        spec = loaded.description.spec
        states = PooledStates(loaded.engine, spec, device=loaded.description.device, token_budget=token_budget)
        tokenizer = loaded.description.tokenizer.for_pairs(segments=source.facts.segments)
        return cls(spec, tokenizer, states, head, max_length=spec.max_document_length)

    @property
    def max_length(self) -> int:
        """The most tokens of a pair that are read, special tokens included."""
        return self._max_length

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return the logits (n,) of pairs of a query and a document, in input order.

        A pair that is too long loses the end of its document, told as the encoder tells it; see PairTokenizer. Raises
        InputError for what is not a pair of strings.
        """
        checked = check_pairs(pairs)
        scores = np.empty(len(checked), np.float32)
        for start in range(0, len(checked), _WINDOW):
            scores[start : start + _WINDOW] = self._score(checked[start : start + _WINDOW])
        return scores

    def tokenize(self, pairs: Sequence[tuple[str, str]]) -> PairTokens:
        """Return the token ids of pairs as `score` reads them; raises InputError for what is not a pair of strings."""
        checked = check_pairs(pairs)
        ids = [self._ids([pair[side] for pair in checked]) for side in (0, 1)]
        sequences = []
        truncated = unread = 0
        for query, document in zip(*ids, strict=True):
            kept = self._tokenizer.fit(len(query), len(document), max_length=self._max_length)
            lost = len(query) - kept.first + len(document) - kept.second
            truncated += lost > 0
            unread += lost
            sequences.append(self._tokenizer.join(query[: kept.first], document[: kept.second]))
        return PairTokens(sequences, truncated, unread)

    def score_tokens(self, sequences: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Return the logits (n,) of pairs that `tokenize` tokenised."""
        return self._head(self._states(sequences))

    def _score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        tokens = self.tokenize(pairs)
        report_truncation(tokens.truncated, max_length=self._max_length, tokens=tokens.unread)
        return self.score_tokens(tokens.sequences)

    def _ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of texts, each tokenised once: a query comes with each of its documents."""
        unique = distinct(texts)
        ids = self._tokenizer.ids([texts[row] for row in unique.first])
        return [ids[number] for number in unique.inverse]
