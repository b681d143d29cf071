"""Run a retriever on the queries of a task and check its results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.hits import Hits
from reasonembed_rag.lazy import lazy_face
from reasonembed_rag.protocols import Metered, Retriever, Usage

__all__ = ["QueryResult", "Run", "RunOptions", "RunProgress", "run_retriever"]

_MOVED = {name: f"reasonembed_rag.evaluation.{name}" for name in ("evaluate", "evaluate_embedder")}
__getattr__, _ = lazy_face(__name__, renamed=_MOVED)

RunProgress = Callable[[int, int], None]
"""Called with (queries done, all queries)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a retriever is run."""

    k: int = 1000
    """Hits per query, after the exclusions."""
    batch_size: int = 1
    """Queries per call. With 1, each query is timed as a user would see it, and its vector does not depend on other
    queries to the last bit; larger batches are faster."""
    keep_going: bool = False
    """Score a failed query 0 and continue, instead of stopping at it."""

    def __post_init__(self) -> None:
        for name in ("k", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The result of one query: its hits, its latency where it was run on its own, and what went wrong."""

    id: str
    hits: Hits
    seconds: float | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The results of the queries, at most k hits each."""

    results: tuple[QueryResult, ...]
    k: int
    usage: Usage | None = None


def run_retriever(
    retriever: Retriever,
    task: RetrievalTask,
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
) -> Run:
    """Run every query of the task; the retriever sees queries and excluded ids, never gold ids.

    A query fails if the retriever raises, repeats a document, or returns an excluded or unknown id, more than k hits or
    a score that is not a finite number. Raises EvaluationError at the first failure unless options.keep_going.
    """
    options = options or RunOptions()
    known = frozenset(document.id for document in task.documents) if task.documents else None
    runner = _Runner(retriever, options, known)
    results: list[QueryResult] = []
    for start in range(0, len(task.examples), options.batch_size):
        results += runner.run(task.examples[start : start + options.batch_size])
        if progress is not None:
            progress(len(results), len(task.examples))
    usage = retriever.usage() if isinstance(retriever, Metered) else None
    return Run(tuple(results), options.k, usage)


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs batches of queries and checks the hits; `known` holds the corpus's ids, where there is a corpus."""

    retriever: Retriever
    options: RunOptions
    known: frozenset[str] | None

    def run(self, examples: Sequence[Example]) -> list[QueryResult]:
        """Run a batch of queries; if that fails, run them one by one to find the failing one."""
        if len(examples) == 1:
            return [self._run_one(examples[0])]
        try:
            found = self._search(examples)
        except Exception:  # noqa: BLE001  # a foreign retriever may raise anything; _run_one reports it
            return [self._run_one(example) for example in examples]
        return [self._result(example, hits, None) for example, hits in zip(examples, found, strict=True)]

    def _run_one(self, example: Example) -> QueryResult:
        start = time.perf_counter()
        try:
            hits = self._search([example])[0]
        except Exception as error:
            problem = f"the retriever raised {type(error).__name__}: {error}"
            if not self.options.keep_going:
                raise EvaluationError(_failure(example, problem)) from error
            return QueryResult(example.id, _no_hits(), None, problem)
        return self._result(example, hits, time.perf_counter() - start)

    def _search(self, examples: Sequence[Example]) -> list[Hits]:
        queries = [example.query for example in examples]
        excluded = [example.excluded_ids for example in examples]
        found = self.retriever.search(queries, k=self.options.k, excluded_ids=excluded)
        if len(found) != len(queries):
            raise EvaluationError(f"ran {len(queries)} queries, got {len(found)} lists of hits; want one per query")
        return found

    def _result(self, example: Example, hits: Hits, seconds: float | None) -> QueryResult:
        problem = self._problem(example, hits)
        if problem is None:
            return QueryResult(example.id, Hits(hits.ids, hits.scores), seconds)  # a run keeps no documents
        if not self.options.keep_going:
            raise EvaluationError(_failure(example, problem))
        return QueryResult(example.id, _no_hits(), seconds, problem)

    def _problem(self, example: Example, hits: Hits) -> str | None:
        """Return what is wrong with the hits of a query; None if nothing is."""
        found = frozenset(hits.ids)
        checks = (
            (len(hits.ids) > self.options.k, f"{len(hits.ids)} hits where {self.options.k} were wanted"),
            (len(found) < len(hits.ids), f"{len(hits.ids) - len(found)} hits that repeat a document"),
            (not np.isfinite(hits.scores).all(), "scores that are not finite numbers"),
            (not found.isdisjoint(example.excluded_ids), "documents excluded for this query"),
            (self.known is not None and not found <= self.known, "ids that are not in the corpus"),
        )
        problems = [problem for failed, problem in checks if failed]
        return f"the retriever returned {', '.join(problems)}" if problems else None


def _failure(example: Example, problem: str) -> str:
    return f"query {example.id!r}: {problem}; fix the retriever, or keep going and score the query 0"


def _no_hits() -> Hits:
    return Hits((), np.empty(0, np.float32))
