"""An engine that takes texts: tokenised a window at a time, packed, computed and checked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from reasonembed_rag.backbone import Tokens
from reasonembed_rag.encoder.batching import distinct, plan_packs
from reasonembed_rag.encoder.progress import progress_bar
from reasonembed_rag.encoder.truncation import report_truncation, report_unknown
from reasonembed_rag.errors import BackendError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Engine, RowVectors
    from reasonembed_rag.encoder.engines import ModelDescription

__all__ = ["TextCall", "TextEngine", "TokenCall"]

_CHARACTERS = 4
"""Characters per token, for the cost of texts that are not tokenised yet."""
_WINDOW = 8192
"""Texts planned at once: enough to sort well by length, few enough that their tokens take little memory."""


@dataclass(frozen=True, slots=True)
class TextCall:
    """Everything but the texts that the vectors of a call depend on; async calls of equal values share forwards."""

    role: Literal["query", "document"]
    affixes: tuple[str, str]
    adapter: str | None


@dataclass(frozen=True, slots=True)
class TokenCall:
    """Everything but the ids that the vectors of tokenised texts depend on."""

    adapter: str | None
    skip: int
    prefix: bytes
    """The token ids that all texts begin with."""


class TextEngine:
    """Turn texts and token ids into vectors with one engine, whose calls run one after another.

    It is shared by the encoders of a model's adapters. Raises BackendError for vectors that are not finite.
    """

    def __init__(self, model: ModelDescription, engine: Engine, *, token_budget: int) -> None:
        self.lock = ForkLock()
        self.budget = token_budget
        """Tokens of one forward pass."""
        self.tokens = 0
        """Tokens computed so far."""
        self._specs = dict[str | None, EmbeddingSpec]([(None, model.spec), *model.adapter_specs.items()])
        self._tokenizer = model.tokenizer
        self._engine = engine

    def cost(self, text: str | NDArray[np.int32]) -> int:
        """Return the tokens of a text, estimated where it is not tokenised yet."""
        if not isinstance(text, str):
            return len(text)
        spec = self._specs[None]
        return min(len(text) // _CHARACTERS + 1, max(spec.max_query_length, spec.max_document_length))

    def encode(self, texts: list[str], call: TextCall, *, show_progress: bool) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of texts, each distinct one computed once; truncated ones are reported."""
        unique = distinct(texts)
        repeated = len(unique.first) < len(texts)
        wanted = [texts[row] for row in unique.first] if repeated else texts
        vectors = np.empty((len(texts), self._specs[call.adapter].dimension), dtype=np.float32)
        truncated = unread = unknown = 0
        with self.lock, progress_bar(total=len(wanted), unit="texts", show=show_progress) as advance:
            for start, tokens in self._windows(wanted, call):
                for part in self._run(tokens, call.adapter):
                    vectors[unique.first[start + part.rows]] = part.vectors
                    advance(len(part.rows))
                truncated += tokens.truncated
                unknown += tokens.unknown
                unread += tokens.unread
                self.tokens += int(tokens.lengths.sum())
        report_truncation(truncated, max_length=self._max_length(call), tokens=unread)
        report_unknown(unknown)
        if repeated:
            source = unique.first[unique.inverse]
            repeats = np.flatnonzero(source != np.arange(len(texts)))
            vectors[repeats] = vectors[source[repeats]]
        return vectors

    def encode_tokens(self, tokens: Tokens, *, adapter: str | None) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of tokenised texts."""
        vectors = np.empty((len(tokens.lengths), self._specs[adapter].dimension), dtype=np.float32)
        with self.lock:
            for part in self._run(tokens, adapter):
                vectors[part.rows] = part.vectors
            self.tokens += int(tokens.lengths.sum())
        return vectors

    def encode_joined(self, sequences: list[NDArray[np.int32]], call: TokenCall) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of token ids of several calls, each distinct sequence computed once."""
        unique = distinct([ids.tobytes() for ids in sequences])
        rows = [sequences[row] for row in unique.first]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(ids) for ids in rows], out=offsets[1:])
        shared = len(call.prefix) // np.dtype(np.int32).itemsize
        tokens = Tokens(np.concatenate(rows), offsets, truncated=0, skip=call.skip, shared=shared)
        return self.encode_tokens(tokens, adapter=call.adapter)[unique.inverse]

    def close(self) -> None:
        """Release the model's memory and processes."""
        with self.lock:
            self._engine.close()

    def _windows(self, texts: list[str], call: TextCall) -> Iterator[tuple[int, Tokens]]:
        """Yield the tokens of a window of texts while the next window is being tokenised."""

        def tokenize(start: int) -> Tokens:
            before, after = call.affixes
            window = texts[start : start + _WINDOW]
            return self._tokenizer(window, before=before, after=after, max_length=self._max_length(call))

        starts = range(0, len(texts), _WINDOW)
        if len(starts) == 1:
            yield 0, tokenize(0)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="reasonembed-tokenizer") as pool:
            upcoming = pool.submit(tokenize, 0) if texts else None
            for start in starts:
                tokens = upcoming.result() if upcoming is not None else tokenize(start)
                upcoming = pool.submit(tokenize, start + _WINDOW) if start + _WINDOW < len(texts) else None
                yield start, tokens

    def _run(self, tokens: Tokens, adapter: str | None) -> Iterator[RowVectors]:
        packs = plan_packs(tokens.lengths - tokens.shared, budget=self.budget)
        for part in self._engine.run(tokens, packs, adapter=adapter):
            if not np.isfinite(part.vectors).all():
                spec = self._specs[adapter]
                raise BackendError(
                    f"{spec.model} gave vectors that are not finite in {spec.dtype}; "
                    "the weights are damaged or overflow: check the files, or load with dtype='float32'"
                )
            yield part

    def _max_length(self, call: TextCall) -> int:
        spec = self._specs[call.adapter]
        return spec.max_query_length if call.role == "query" else spec.max_document_length
