"""Score a run against a task's gold ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation.environment import describe_environment
from reasonembed_rag.evaluation.metrics import CUTOFFS, HEADLINE, MEASURES, mean_over, ranking, score_rankings
from reasonembed_rag.evaluation.report import Latency, QueryScore, Report, System, TaskFacts
from reasonembed_rag.evaluation.run import Run
from reasonembed_rag.evaluation.significance import Interval, bootstrap_intervals
from reasonembed_rag.evaluation.slices import query_type, slices_of
from reasonembed_rag.evaluation.task import RetrievalTask

__all__ = ["judgement_digest", "rankings_of", "score_run", "task_facts"]


def score_run(run: Run, task: RetrievalTask, *, system: System, command: str | None = None) -> Report:
    """Return the report of a run: official measures per query and their means.

    Excluded ids are removed before the ranking is truncated at run.k. Raises EvaluationError for a task without gold
    ids and for a run without any of its queries.
    """
    gold = {example.id: frozenset(example.gold_ids) for example in task.examples}
    task.check_judged()
    if not any(result.id in gold for result in run.results):
        raise EvaluationError(f"the run has none of the {len(gold)} queries of task {task.name!r}; want its query ids")
    rankings = rankings_of(run, task)
    zeros = dict.fromkeys(MEASURES, 0.0)
    type_of = {example.id: query_type(example) for example in task.examples}
    failed = {result.id: zeros for result in run.results if result.problem is not None and result.id in gold}
    measures = score_rankings(rankings, gold) | failed
    return Report(
        task=task_facts(task),
        system=system,
        k=run.k,
        queries=tuple(
            QueryScore(r.id, measures[r.id], len(rankings.get(r.id, ())), r.seconds, r.problem, type_of[r.id])
            for r in run.results
            if r.id in gold
        ),
        mean_present=_rounded(mean_over(measures, queries=len(measures))),
        mean_all=_rounded(mean_over(measures, queries=len(gold))),
        intervals=_intervals(measures),
        slices=slices_of(task, {query: values[HEADLINE] for query, values in measures.items()}),
        latency=_latency(run),
        usage=run.usage,
        environment=describe_environment(command),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=_notes(run, task, rankings),
    )


def judgement_digest(task: RetrievalTask) -> str:
    """Return 32 hexadecimal digits of the query ids with their gold and excluded ids; the query texts do not matter."""
    rows = sorted((e.id, sorted(set(e.gold_ids)), sorted(set(e.excluded_ids))) for e in task.examples)
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest()


def rankings_of(run: Run, task: RetrievalTask) -> dict[str, tuple[str, ...]]:
    """Return the ranking of each query that did not fail, exclusions removed before it is truncated."""
    excluded = {example.id: frozenset(example.excluded_ids) for example in task.examples}
    rankings: dict[str, tuple[str, ...]] = {}
    for result in run.results:
        if result.problem is None and result.id in excluded:
            ranked = ranking(result.hits.ids, result.hits.scores)
            rankings[result.id] = tuple(i for i in ranked if i not in excluded[result.id])[: run.k]
    return rankings


def task_facts(task: RetrievalTask) -> TaskFacts:
    """Return a task in numbers."""
    gold = {identity for example in task.examples for identity in example.gold_ids}
    corpus = {document.id for document in task.documents}
    return TaskFacts(
        name=task.name,
        split=task.split,
        digest=judgement_digest(task),
        queries=len(task.examples),
        documents=len(task.documents) or None,
        gold=len(gold),
        gold_not_in_corpus=len(gold - corpus) if corpus else None,
        queries_without_gold=sum(not example.gold_ids for example in task.examples),
        query_source=task.queries,
        long=task.long,
        revision=task.revision,
        warnings=task.warnings,
    )


def _notes(run: Run, task: RetrievalTask, rankings: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return what may mislead in the scores of this run."""
    notes: list[str] = []
    if run.k < CUTOFFS[-1]:
        notes.append(f"rankings are truncated at {run.k}: measures at larger cutoffs count nothing beyond")
    if task.documents:
        corpus = {document.id for document in task.documents}
        unknown = len({identity for ranked in rankings.values() for identity in ranked} - corpus)
        if unknown:
            notes.append(f"{unknown:,} ranked ids are not in the corpus; is the run of this task?")
    return tuple(notes)


def _latency(run: Run) -> Latency | None:
    seconds = [result.seconds for result in run.results if result.seconds is not None]
    measured = seconds[1:] or seconds
    if not measured:
        return None
    p50, p95 = np.percentile(measured, (50, 95))
    return Latency(float(p50), float(p95), len(measured))


def _intervals(measures: Mapping[str, Mapping[str, float]]) -> dict[str, Interval]:
    values_QM = np.asarray([[values[measure] for measure in MEASURES] for values in measures.values()])
    return dict(zip(MEASURES, bootstrap_intervals([values_QM]), strict=True))


def _rounded(means: Mapping[str, float]) -> dict[str, float]:
    return {measure: round(mean, 5) for measure, mean in means.items()}
