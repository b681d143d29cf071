"""Expand queries by one request to a chat model each: reasoning, hypothetical documents, decomposition."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer, AnswerGuard, ChatAccess, ChatStage, ReadAnswer, StageRequest
from reasonembed_rag.pipeline.asks_chat import AsksChat
from reasonembed_rag.pipeline.expand_prompts import (
    INTERPRETATION,
    SUB_QUERY,
    decomposition_prompt,
    hypothesis_prompt,
    search_reasoning_prompt,
)
from reasonembed_rag.pipeline.prompt_writer import PromptWriter
from reasonembed_rag.protocols import Expansion, Retriever
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard

__all__ = ["DecomposingExpander", "HypothesisExpander", "ReasoningExpander"]

_PARTS = re.compile(
    rf"<{SUB_QUERY}>(.*?)</{SUB_QUERY}>(?:\s*<{INTERPRETATION}>(.*?)</{INTERPRETATION}>)?", re.DOTALL | re.IGNORECASE
)


class _ChatExpander(AsksChat):
    """Texts that a chat model writes for each query, several samples of one prompt; unusable ones are left out."""

    def __init__(
        self,
        access: ChatAccess,
        prompt: Callable[[TaskCard, str], str],
        card: TaskCard,
        *,
        name: str,
        samples: int = 1,
        written_tags: Sequence[str] = (),
    ) -> None:
        super().__init__(ChatStage(access, name=name))
        if samples < 1:
            raise InputError(f"{name}: the number of samples is {samples}; want at least 1")
        tokens = self._stage.prompt_tokens
        self._writer = PromptWriter(lambda card, query, _: prompt(card, query), card, tokens, documents=0)
        self._samples = samples
        self._guard = AnswerGuard(prompt(card, ""), written_tags=written_tags)

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,  # noqa: ARG002 - the protocol's
        excluded_ids: Sequence[Collection[str]] | None = None,  # noqa: ARG002 - as above
    ) -> list[Expansion]:
        """Return what is written for each query; empty where no answer is usable."""
        requests = [self._request(query, sample) for query in queries for sample in range(self._samples)]
        written = [texts or () for texts in self._stage.ask(requests)]
        per_query = [written[start : start + self._samples] for start in range(0, len(written), self._samples)]
        return [self._expansion(tuple(text for texts in own for text in texts)) for own in per_query]

    def _request(self, query: str, sample: int) -> StageRequest[tuple[str, ...]]:
        read = partial(self._read, query=query)
        return self._writer.request(self._stage, query, read=lambda _: read, sample=sample)

    def _read(self, answer: Answer, *, query: str) -> ReadAnswer[tuple[str, ...]]:
        checked = self._guard.check(answer, inputs=query)
        return ReadAnswer(None if checked.value is None else (checked.value,), checked.reason)

    def _expansion(self, texts: tuple[str, ...]) -> Expansion:
        return Expansion(queries=texts)


class ReasoningExpander(_ChatExpander):
    """Write reasoning about a query that names its problem and drafts its answer, `samples` times.

    As for BRIGHT's reasoning queries (arXiv 2407.12883), in other words. Raises InputError for samples below 1.
    """

    def __init__(self, access: ChatAccess, *, card: TaskCard = DEFAULT_CARD, samples: int = 1) -> None:
        super().__init__(access, search_reasoning_prompt, card, name="expand: reasoning", samples=samples)


class HypothesisExpander(_ChatExpander):
    """Write documents that would help with a query, which are embedded as documents (HyDE, arXiv 2212.10496).

    Raises InputError for documents below 1.
    """

    def __init__(self, access: ChatAccess, *, card: TaskCard = DEFAULT_CARD, documents: int = 1) -> None:
        super().__init__(access, hypothesis_prompt, card, name="expand: HyDE", samples=documents)

    def _expansion(self, texts: tuple[str, ...]) -> Expansion:
        return Expansion(documents=texts)


class DecomposingExpander(_ChatExpander):
    """Split a query into sub-queries with interpretations, each to be searched alone (ReDI, arXiv 2509.06544).

    Raises InputError for parts below 1.
    """

    def __init__(self, access: ChatAccess, *, card: TaskCard = DEFAULT_CARD, parts: int = 4) -> None:
        if parts < 1:
            raise InputError(f"expand: decompose: the number of parts is {parts}; want at least 1")
        super().__init__(
            access,
            partial(decomposition_prompt, parts=parts),
            card,
            name="expand: decompose",
            written_tags=(SUB_QUERY, INTERPRETATION),
        )
        self._parts = parts

    def _read(self, answer: Answer, *, query: str) -> ReadAnswer[tuple[str, ...]]:
        checked = super()._read(answer, query=query)
        if checked.value is None:
            return checked
        (text,) = checked.value
        pairs = [(sub.strip(), meaning.strip()) for sub, meaning in _PARTS.findall(text)]
        parts = [f"{sub}\n\n{meaning}" if meaning else sub for sub, meaning in pairs if any(map(str.isalnum, sub))]
        distinct = tuple(dict.fromkeys(parts))[: self._parts]
        return ReadAnswer(distinct) if distinct else ReadAnswer(None, "no sub-queries in it")
