"""Expand queries by one request to a chat model each: reasoning, hypothetical documents, decomposition."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from functools import partial

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer, AnswerGuard, ChatAccess, ChatStage, ReadAnswer, StageReport, StageRequest
from reasonembed_rag.pipeline.expand_prompts import (
    INTERPRETATION,
    SUB_QUERY,
    decomposition_prompt,
    hypothesis_prompt,
    search_reasoning_prompt,
)
from reasonembed_rag.protocols import Expansion, Retriever, Usage
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard

__all__ = ["DecomposingExpander", "HypothesisExpander", "ReasoningExpander"]

_PARTS = re.compile(
    rf"<{SUB_QUERY}>(.*?)</{SUB_QUERY}>(?:\s*<{INTERPRETATION}>(.*?)</{INTERPRETATION}>)?", re.DOTALL | re.IGNORECASE
)


class _Samples:
    """Texts that a chat model writes for each query, several samples of one prompt; unusable ones are left out."""

    def __init__(self, access: ChatAccess, prompt: Callable[[str], str], *, samples: int, stage: str) -> None:
        if samples < 1:
            raise InputError(f"{stage}: the number of samples is {samples}; want at least 1")
        self.stage = ChatStage(access, name=stage)
        self._prompt = prompt
        self._samples = samples
        self._guard = AnswerGuard(prompt(""))

    def write(self, queries: Sequence[str]) -> list[tuple[str, ...]]:
        requests = [
            StageRequest(self._prompt(query), partial(self._guard.check, inputs=query), sample)
            for query in queries
            for sample in range(self._samples)
        ]
        texts = self.stage.ask(requests)
        of_query = [texts[start : start + self._samples] for start in range(0, len(texts), self._samples)]
        return [tuple(text for text in own if text is not None) for own in of_query]


class ReasoningExpander:
    """Write reasoning about a query that names its problem and drafts its answer, `samples` times.

    As for BRIGHT's reasoning queries (arXiv 2407.12883), in other words. Raises InputError for samples below 1.
    """

    def __init__(self, access: ChatAccess, *, card: TaskCard = DEFAULT_CARD, samples: int = 1) -> None:
        self._samples = _Samples(
            access, lambda query: search_reasoning_prompt(card, query), samples=samples, stage="expand: reasoning"
        )

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,  # noqa: ARG002 - the protocol's
        excluded_ids: Sequence[Collection[str]] | None = None,  # noqa: ARG002 - as above
    ) -> list[Expansion]:
        """Return the reasoning of each query, searched as queries; empty where no answer is usable."""
        return [Expansion(queries=texts) for texts in self._samples.write(queries)]

    def report(self) -> StageReport:
        """Return what was asked, answered and dropped since construction."""
        return self._samples.stage.report()

    def usage(self) -> Usage:
        """Return the calls and tokens since construction."""
        return self._samples.stage.usage()


class HypothesisExpander:
    """Write documents that would help with a query, which are embedded as documents (HyDE, arXiv 2212.10496).

    Raises InputError for documents below 1.
    """

    def __init__(self, access: ChatAccess, *, card: TaskCard = DEFAULT_CARD, documents: int = 1) -> None:
        self._samples = _Samples(
            access, lambda query: hypothesis_prompt(card, query), samples=documents, stage="expand: HyDE"
        )

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,  # noqa: ARG002 - the protocol's
        excluded_ids: Sequence[Collection[str]] | None = None,  # noqa: ARG002 - as above
    ) -> list[Expansion]:
        """Return the hypothetical documents of each query; empty where no answer is usable."""
        return [Expansion(documents=texts) for texts in self._samples.write(queries)]

    def report(self) -> StageReport:
        """Return what was asked, answered and dropped since construction."""
        return self._samples.stage.report()

    def usage(self) -> Usage:
        """Return the calls and tokens since construction."""
        return self._samples.stage.usage()


class DecomposingExpander:
    """Split a query into sub-queries with interpretations, each to be searched alone (ReDI, arXiv 2509.06544).

    Raises InputError for parts below 1.
    """

    def __init__(self, access: ChatAccess, *, card: TaskCard = DEFAULT_CARD, parts: int = 4) -> None:
        if parts < 1:
            raise InputError(f"expand: decompose: the number of parts is {parts}; want at least 1")
        self._stage = ChatStage(access, name="expand: decompose")
        self._card = card
        self._parts = parts
        self._guard = AnswerGuard(decomposition_prompt(card, "", parts=parts), written_tags=(SUB_QUERY, INTERPRETATION))

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,  # noqa: ARG002 - the protocol's
        excluded_ids: Sequence[Collection[str]] | None = None,  # noqa: ARG002 - as above
    ) -> list[Expansion]:
        """Return the parts of each query, a sub-query with its interpretation; empty where none could be read."""
        requests = [
            StageRequest(
                decomposition_prompt(self._card, query, parts=self._parts),
                partial(self._read, query=query),
            )
            for query in queries
        ]
        return [Expansion(queries=parts or ()) for parts in self._stage.ask(requests)]

    def report(self) -> StageReport:
        """Return what was asked, answered and dropped since construction."""
        return self._stage.report()

    def usage(self) -> Usage:
        """Return the calls and tokens since construction."""
        return self._stage.usage()

    def _read(self, answer: Answer, *, query: str) -> ReadAnswer[tuple[str, ...]]:
        checked = self._guard.check(answer, inputs=query)
        if checked.value is None:
            return ReadAnswer(None, checked.reason)
        pairs = [(sub.strip(), meaning.strip()) for sub, meaning in _PARTS.findall(checked.value)]
        parts = [f"{sub}\n\n{meaning}" if meaning else sub for sub, meaning in pairs if any(map(str.isalnum, sub))]
        distinct = tuple(dict.fromkeys(parts))[: self._parts]
        return ReadAnswer(distinct) if distinct else ReadAnswer(None, "no sub-queries in it")
