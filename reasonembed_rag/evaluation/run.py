"""Ask a retriever the queries of a task and check what comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Metered, Retriever, Usage

__all__ = ["Progress", "QueryResult", "Run", "RunOptions", "run_retriever"]

Progress = Callable[[int, int], None]
"""Told (queries done, queries in all)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a retriever is asked."""

    k: int = 1000
    """Hits wanted a query, after the exclusions."""
    batch_size: int = 1
    """Queries asked at once. Asked alone, as a user would, each query has its latency, and its vector does not depend
    on its neighbours to the last bit; larger batches are faster."""
    keep_going: bool = False
    """Count a query that fails as 0 and go on; else stop at it."""

    def __post_init__(self) -> None:
        for name in ("k", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What one query brought: its hits, how long it took where it was asked alone, and what went wrong."""

    id: str
    hits: Hits
    seconds: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The results of the queries that were asked, at most k hits each."""

    results: tuple[QueryResult, ...]
    k: int
    usage: Usage | None = None


def run_retriever(
    retriever: Retriever,
    task: RetrievalTask,
    *,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Run:
    """Ask every query of the task; the retriever sees queries and excluded ids, never gold.

    A query fails where the retriever raises, repeats a document, returns an excluded or unknown id, more than k hits
    or a score that is not a finite number. Raises EvaluationError at the first that fails unless options.keep_going.
    """
    options = options or RunOptions()
    known = frozenset(document.id for document in task.documents) if task.documents else None
    asker = _Asker(retriever, options, known)
    results: list[QueryResult] = []
    for start in range(0, len(task.examples), options.batch_size):
        results += asker.ask(task.examples[start : start + options.batch_size])
        if progress is not None:
            progress(len(results), len(task.examples))
    usage = retriever.usage() if isinstance(retriever, Metered) else None
    return Run(tuple(results), options.k, usage)


@dataclass(frozen=True, slots=True)
class _Asker:
    retriever: Retriever
    options: RunOptions
    known: frozenset[str] | None

    def ask(self, examples: Sequence[Example]) -> list[QueryResult]:
        """Ask some queries at once; where that fails ask one by one, to tell whose fault it is."""
        if len(examples) == 1:
            return [self._ask_one(examples[0])]
        try:
            found = self._search(examples)
        except Exception:  # noqa: BLE001  # a foreign retriever may raise anything; _ask_one reports it
            return [self._ask_one(example) for example in examples]
        return [self._result(example, hits, None) for example, hits in zip(examples, found, strict=True)]

    def _ask_one(self, example: Example) -> QueryResult:
        start = time.perf_counter()
        try:
            hits = self._search([example])[0]
        except Exception as error:
            problem = f"the retriever raised {type(error).__name__}: {error}"
            if not self.options.keep_going:
                raise EvaluationError(_stop(example, problem)) from error
            return QueryResult(example.id, _nothing(), None, problem)
        return self._result(example, hits, time.perf_counter() - start)

    def _search(self, examples: Sequence[Example]) -> list[Hits]:
        queries = [example.query for example in examples]
        excluded = [example.excluded_ids for example in examples]
        found = self.retriever.search(queries, k=self.options.k, excluded_ids=excluded)
        if len(found) != len(queries):
            raise EvaluationError(f"asked {len(queries)} queries, got {len(found)} lists of hits; want one a query")
        return found

    def _result(self, example: Example, hits: Hits, seconds: float | None) -> QueryResult:
        problem = self._problem(example, hits)
        if problem is None:
            return QueryResult(example.id, Hits(hits.ids, hits.scores), seconds)  # a run keeps no documents
        if not self.options.keep_going:
            raise EvaluationError(_stop(example, problem))
        return QueryResult(example.id, _nothing(), seconds, problem)

    def _problem(self, example: Example, hits: Hits) -> str | None:
        """Say what is wrong with the hits of a query, None where nothing is."""
        found = frozenset(hits.ids)
        checks = (
            (len(hits.ids) > self.options.k, f"{len(hits.ids)} hits where {self.options.k} were asked for"),
            (len(found) < len(hits.ids), f"{len(hits.ids) - len(found)} hits that repeat a document"),
            (not np.isfinite(hits.scores).all(), "scores that are not finite numbers"),
            (not found.isdisjoint(example.excluded_ids), "documents excluded for this query"),
            (self.known is not None and not found <= self.known, "ids that are not in the corpus"),
        )
        wrong = [what for is_wrong, what in checks if is_wrong]
        return f"the retriever returned {', '.join(wrong)}" if wrong else None


def _stop(example: Example, problem: str) -> str:
    return f"query {example.id!r}: {problem}; mend the retriever, or keep going and count the query as 0"


def _nothing() -> Hits:
    return Hits((), np.empty(0, np.float32))
