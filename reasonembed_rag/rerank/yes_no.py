"""Decoders that judge a document by their next word, yes or no, in the input format of Qwen3-Reranker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from reasonembed_rag.backbone import EncoderSettings, find_bare_source, read_matrix_rows
from reasonembed_rag.encoder import load_engine, report_truncation
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.rerank.ordering import check_pairs
from reasonembed_rag.rerank.pair_scorer import PairScorer
from reasonembed_rag.rerank.states import PooledStates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import ModelSource, TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["YesNoReranker"]

_BEFORE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""What the published models take for a task that is not named. Like all of the format, it is the models' input."""
_OUTPUTS = ("lm_head.weight", "model.embed_tokens.weight")
"""The output matrix, and the one that models without an own output matrix share with their input."""


class YesNoReranker(PairScorer):
    """Score a pair by the probability of "yes" against "no" as a decoder's next token; a Reranker.

    Build it with from_pretrained. Scores lie in 0 to 1, higher is better.
    """

    def __init__(
        self,
        spec: EmbeddingSpec,
        tokenizer: TextTokenizer,
        states: PooledStates,
        rows_2D: NDArray[np.float32],
        *,
        instruction: str = _INSTRUCTION,
    ) -> None:
        """rows_2D are the output matrix's rows of "no" and "yes"."""
        super().__init__(spec, states)
        self._tokenizer, self._rows_2D = tokenizer, rows_2D
        self._before, self._after = tokenizer.ids_alone([_BEFORE, _AFTER])
        self._instruction = instruction
        self._room = spec.max_document_length - len(self._before) - len(self._after)
        if self._room < 1:
            raise InputError(
                f"max_length is {spec.max_document_length}, and the format alone takes "
                f"{len(self._before) + len(self._after)} tokens; want more"
            )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        max_length: int | None = None,
        token_budget: int | None = None,
        instruction: str | None = None,
    ) -> YesNoReranker:
        """Load a causal language model, such as Qwen/Qwen3-Reranker-0.6B: a folder or a hub id.

        instruction says what makes a document right, for instance a task card's. dtype, device and token_budget are the
        encoder's; max_length bounds the tokens of a prompt (8,192, or fewer where the model has fewer positions).
        Raises ModelError for a model that cannot be loaded or has no tokens "yes" and "no", InputError for settings
        that it does not support, MissingDependencyError where torch is missing.
        """
        settings = EncoderSettings(
            model=os.fspath(name_or_path),
            revision=revision,
            device=device,
            dtype=dtype,
            max_document_length=max_length,
        )
        source = find_bare_source(settings, pooling="last")
        loaded = load_engine(settings, source=source)
        description = loaded.description
        states = PooledStates(loaded.engine, description.spec, device=description.device, token_budget=token_budget)
        rows_2D = _rows(source, description.tokenizer)
        instruction = _INSTRUCTION if instruction is None else instruction
        return cls(description.spec, description.tokenizer, states, rows_2D, instruction=instruction)

    def score(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return the probabilities (n,) of "yes" for pairs of a query and a document, in input order.

        A prompt that is too long loses the end of its document, never the format, and is counted as the encoder counts.
        What the prompts of one query have in common is computed once. Raises InputError for what is no pair of strings.
        """
        checked = check_pairs(pairs)
        rows_of: dict[str, list[int]] = {}
        for row, (query, _) in enumerate(checked):
            rows_of.setdefault(query, []).append(row)
        scores = np.empty(len(checked), np.float32)
        for rows in rows_of.values():
            sequences = self._sequences([checked[row] for row in rows])
            logits_B2 = self._states(sequences, shared=_common(sequences)) @ self._rows_2D.T
            scores[rows] = 1 / (1 + np.exp(np.clip(logits_B2[:, 0] - logits_B2[:, 1], -80, 80)))
        return scores

    def _sequences(self, pairs: Sequence[tuple[str, str]]) -> list[NDArray[np.int32]]:
        bodies = [
            f"<Instruct>: {self._instruction}\n<Query>: {query}\n<Document>: {document}" for query, document in pairs
        ]
        found = self._tokenizer.ids_alone(bodies)
        excess = [max(0, len(ids) - self._room) for ids in found]
        report_truncation(
            sum(count > 0 for count in excess), max_length=self._spec.max_document_length, tokens=sum(excess)
        )
        return [np.concatenate([self._before, ids[: self._room], self._after], dtype=np.int32) for ids in found]


def _rows(source: ModelSource, tokenizer: TextTokenizer) -> NDArray[np.float32]:
    """Return the rows (2, D) of "no" and "yes" in the output matrix."""
    name = source.settings.model
    ids = [tokenizer.token_id(word) for word in ("no", "yes")]
    known = [number for number in ids if number is not None]
    if len(known) < len(ids):
        raise ModelError(
            f'{name}: its vocabulary lacks the token "no" or "yes"; want a reranker such as Qwen3-Reranker'
        )
    for matrix in _OUTPUTS:
        rows_2D = read_matrix_rows(source.facts.transformer_folder, matrix, known)
        if rows_2D is not None:
            return rows_2D
    raise ModelError(f"{name}: its weights have none of {', '.join(_OUTPUTS)}; want a causal language model")


def _common(sequences: Sequence[NDArray[np.int32]]) -> int:
    """Return how many first tokens sequences share, one of each left over; 0 for a single one."""
    if len(sequences) < 2:
        return 0
    length = min(len(ids) for ids in sequences) - 1
    first = sequences[0][:length]
    same = np.logical_and.reduce([ids[:length] == first for ids in sequences])
    return int(np.argmin(same)) if not same.all() else length
