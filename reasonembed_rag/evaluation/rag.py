"""Measure RAG chains without a judge: how many gold documents reach the language model's context."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation.report import Report, System
from reasonembed_rag.evaluation.run import RunOptions, RunProgress, run_retriever
from reasonembed_rag.evaluation.scoring import score_run
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Metered, Usage
from reasonembed_rag.retrieval import hits_in_order

__all__ = ["Context", "ContextReport", "ContextScore", "RagChain", "evaluate_context"]

_MOST_DOCUMENTS = 100


@dataclass(frozen=True, slots=True)
class Context:
    """The documents that a language model was given for one query, in order, and its answer."""

    documents: tuple[Document, ...]
    answer: str | None = None


class RagChain(Protocol):
    """Anything that answers a query from documents: a LangChain chain, a LlamaIndex query engine, a function."""

    def answer(self, query: str) -> Context:
        """Answer a query and return the documents that the answer was generated from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextScore:
    """One query's context within the budget."""

    id: str
    gold_held: tuple[str, ...]
    documents: int
    size: int
    """In the counter's unit, words by default."""
    left_out: int
    """Documents of the context beyond the budget."""
    ndcg: float
    recall: float
    precision: float
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextReport:
    """The contexts of a task, query by query and on average over all judged queries."""

    report: Report
    """The contexts scored as rankings, by the official measures."""
    budget: int | None
    queries: tuple[ContextScore, ...]
    ndcg: float
    recall: float
    precision: float
    size: float


def evaluate_context(
    chain: RagChain,
    task: RetrievalTask,
    *,
    system: System,
    budget: int | None = None,
    count: Callable[[str], int] | None = None,
    keep_going: bool = False,
    progress: RunProgress | None = None,
) -> ContextReport:
    """Run a RAG chain on every query of a task and score the documents in its context.

    budget limits the context that counts, in the unit of `count` (words by default): documents count in order until
    one no longer fits. Excluded documents are removed first. nDCG, recall and precision are over the remaining ones,
    100 at most. Raises as run_retriever and score_run do, and InputError for a budget below 1.
    """
    if budget is not None and budget < 1:
        raise InputError(f"budget is {budget}; want at least 1, or None")
    task.check_judged()
    retriever = _ChainRetriever(chain, budget, count or _words)
    options = RunOptions(k=_MOST_DOCUMENTS, keep_going=keep_going)
    run = run_retriever(retriever, task, options=options, progress=progress)
    report = score_run(run, task, system=system)
    queries = _scores(report, task, retriever)
    judged = max(1, len(task.examples))
    return ContextReport(
        report=report,
        budget=budget,
        queries=queries,
        ndcg=sum(query.ndcg for query in queries) / judged,
        recall=sum(query.recall for query in queries) / judged,
        precision=sum(query.precision for query in queries) / judged,
        size=sum(query.size for query in queries) / judged,
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """One query's context within the budget."""

    ids: tuple[str, ...]
    size: int
    left_out: int
    answer: str | None


class _ChainRetriever:
    """A RAG chain as a retriever: its contexts are the rankings."""

    def __init__(self, chain: RagChain, budget: int | None, count: Callable[[str], int]) -> None:
        self._chain = chain
        self._budget = budget
        self._count = count
        self._measured: dict[tuple[str, frozenset[str]], _Measured] = {}

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        bans = excluded_ids if excluded_ids is not None else [()] * len(queries)
        return [self._ask(query, frozenset(banned), k) for query, banned in zip(queries, bans, strict=True)]

    def measured(self, example: Example) -> _Measured:
        """Return an example's context; an empty one where the chain failed."""
        return self._measured.get((example.query, frozenset(example.excluded_ids)), _Measured((), 0, 0, None))

    def usage(self) -> Usage:
        return self._chain.usage() if isinstance(self._chain, Metered) else Usage()

    def _ask(self, query: str, banned: frozenset[str], k: int) -> Hits:
        context = self._chain.answer(query)
        allowed = [document for document in context.documents if document.id not in banned]
        sizes = np.asarray([self._count(document.content) for document in allowed], dtype=np.int64)
        fits = len(sizes) if self._budget is None else int(np.searchsorted(np.cumsum(sizes), self._budget, "right"))
        fits = min(fits, k)
        ids = tuple(document.id for document in allowed[:fits])
        self._measured[query, banned] = _Measured(ids, int(sizes[:fits].sum()), len(allowed) - fits, context.answer)
        return hits_in_order(ids)


def _scores(report: Report, task: RetrievalTask, retriever: _ChainRetriever) -> tuple[ContextScore, ...]:
    examples = {example.id: example for example in task.examples}
    scores: list[ContextScore] = []
    for query in report.queries:
        context = retriever.measured(examples[query.id]) if query.problem is None else _Measured((), 0, 0, None)
        gold = frozenset(examples[query.id].gold_ids)
        held = tuple(identity for identity in context.ids if identity in gold)
        scores.append(
            ContextScore(
                id=query.id,
                gold_held=held,
                documents=len(context.ids),
                size=context.size,
                left_out=context.left_out,
                ndcg=query.measures[f"nDCG@{_MOST_DOCUMENTS}"],
                recall=query.measures[f"recall@{_MOST_DOCUMENTS}"],
                precision=len(held) / len(context.ids) if context.ids else 0.0,
                answer=context.answer,
            )
        )
    return tuple(scores)


def _words(text: str) -> int:
    return len(text.split())
