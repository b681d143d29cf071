"""Compare systems query by query, with intervals and tests of their differences."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import EvaluationError, want_one_of
from reasonembed_rag.evaluation.metrics import HEADLINE, MEASURES
from reasonembed_rag.evaluation.report import Report
from reasonembed_rag.evaluation.significance import (
    Interval,
    bootstrap_intervals,
    holm_p_values,
    randomization_p_value,
)

__all__ = [
    "Comparison",
    "Difference",
    "QueryPair",
    "SystemPair",
    "SystemsComparison",
    "TaskComparison",
    "compare",
    "compare_systems",
]


@dataclass(frozen=True, slots=True)
class QueryPair:
    """A query's score under both systems."""

    id: str
    first: float
    second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two systems' means, their difference (second minus first), its bootstrap interval and its p-value."""

    first: float
    second: float
    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """The two systems on one task; a query without a ranking counts 0."""

    task: str
    split: str | None
    mean: Difference
    queries: tuple[QueryPair, ...]
    notes: tuple[str, ...]
    """Differences between the reports other than the systems."""

    @property
    def label(self) -> str:
        """The name, with the split where there is one."""
        return f"{self.task} ({self.split})" if self.split else self.task

    @property
    def better(self) -> int:
        """How many queries the second system scored higher on."""
        return sum(pair.second > pair.first for pair in self.queries)

    @property
    def worse(self) -> int:
        """How many queries the second system scored lower on."""
        return sum(pair.second < pair.first for pair in self.queries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The two systems on each task, and the mean of the tasks' means."""

    measure: str
    first: str
    second: str
    tasks: tuple[TaskComparison, ...]
    mean: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemPair:
    """Two of several systems, with p-values corrected by Holm's method."""

    comparison: Comparison
    p_value: float
    """Of the mean of the tasks, over all pairs of systems."""
    task_p_values: tuple[float, ...]
    """Of each task, over all pairs and tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemsComparison:
    """Every pair of two or more systems, each of the earlier one first."""

    measure: str
    systems: tuple[str, ...]
    level: float
    """Of the intervals: those of all pairs' means hold together with 95 % (Bonferroni)."""
    pairs: tuple[SystemPair, ...]


def compare_systems(
    systems: Sequence[Report | Sequence[Report]], *, measure: str = HEADLINE, level: float = 0.95
) -> SystemsComparison:
    """Compare every pair of two or more systems on the same tasks; raises EvaluationError as compare does.

    The intervals of all pairs hold together at the level given. Raises EvaluationError for fewer than two systems, and
    for two of the same name.
    """
    if len(systems) < 2:
        raise EvaluationError(f"got {len(systems)} systems; want at least two to compare")
    together = 1.0 - (1.0 - level) / (len(systems) * (len(systems) - 1) / 2)
    pairs = [compare(one, other, measure=measure, level=together) for one, other in itertools.combinations(systems, 2)]
    names = (pairs[0].first, *(pair.second for pair in pairs[: len(systems) - 1]))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise EvaluationError(f"got two systems named {twice!r}; want names that tell them apart")
    of_mean = holm_p_values([pair.mean.p_value for pair in pairs])
    of_tasks = iter(holm_p_values([task.mean.p_value for pair in pairs for task in pair.tasks]))
    return SystemsComparison(
        measure=measure,
        systems=names,
        level=together,
        pairs=tuple(
            SystemPair(
                comparison=pair, p_value=p_value, task_p_values=tuple(itertools.islice(of_tasks, len(pair.tasks)))
            )
            for pair, p_value in zip(pairs, of_mean, strict=True)
        ),
    )


def compare(
    first: Report | Sequence[Report],
    second: Report | Sequence[Report],
    *,
    measure: str = HEADLINE,
    level: float = 0.95,
) -> Comparison:
    """Compare two systems' reports on the same tasks: one report each, or one per task.

    Differences are paired by query; the overall interval and test draw queries within each task. `level` is that of the
    intervals. Raises EvaluationError for no reports, an unknown measure, reports of more than one system per side, and
    tasks, judgements or exclusions that differ between the sides.
    """
    if measure not in MEASURES:
        raise EvaluationError(f"measure is {measure!r}; {want_one_of(measure, MEASURES)}")
    first, second = ([side] if isinstance(side, Report) else side for side in (first, second))
    pairs = _pairs(first, second)
    tasks = tuple(_compare_task(ours, theirs, measure, level) for ours, theirs in pairs)
    values = [_values(task.queries) for task in tasks]
    return Comparison(
        measure=measure,
        first=_system(first),
        second=_system(second),
        tasks=tasks,
        mean=_difference(values, level),
    )


def _pairs(first: Sequence[Report], second: Sequence[Report]) -> list[tuple[Report, Report]]:
    """Return the reports task by task; raises EvaluationError where the tasks differ."""
    if not first or not second:
        raise EvaluationError("got no report on one side; want at least one on both")
    one, other = _by_task(first), _by_task(second)
    if one.keys() != other.keys():
        missing = ", ".join(sorted(_label(key) for key in one.keys() ^ other.keys()))
        raise EvaluationError(f"only one side has a report of {missing}; want the same tasks on both")
    for key, report in one.items():
        if report.task.digest != other[key].task.digest:
            raise EvaluationError(
                f"the reports of {_label(key)} differ in queries, gold ids or exclusions; evaluate both on the same"
            )
    return [(report, other[key]) for key, report in one.items()]


def _by_task(reports: Sequence[Report]) -> dict[tuple[str, str | None], Report]:
    by_task = {(report.task.name, report.task.split): report for report in reports}
    if len(by_task) < len(reports):
        raise EvaluationError("got two reports of one task on the same side; want one per task")
    return by_task


def _label(key: tuple[str, str | None]) -> str:
    name, split = key
    return f"{name} ({split})" if split else name


def _compare_task(first: Report, second: Report, measure: str, level: float) -> TaskComparison:
    ours = {query.id: query.measures[measure] for query in first.queries}
    theirs = {query.id: query.measures[measure] for query in second.queries}
    ids = [*ours, *(query for query in theirs if query not in ours)]
    queries = tuple(QueryPair(query, ours.get(query, 0.0), theirs.get(query, 0.0)) for query in ids)
    return TaskComparison(
        task=first.task.name,
        split=first.task.split,
        mean=_difference([_values(queries)], level),
        queries=queries,
        notes=_notes(first, second),
    )


def _values(queries: Sequence[QueryPair]) -> NDArray[np.float64]:
    """Return (Q, 2) of both systems' values."""
    return np.asarray([(pair.first, pair.second) for pair in queries], dtype=np.float64)


def _difference(groups: Sequence[NDArray[np.float64]], level: float) -> Difference:
    first, second = np.mean([values_Q2.mean(axis=0) for values_Q2 in groups], axis=0).tolist()
    differences = [values_Q2[:, 1] - values_Q2[:, 0] for values_Q2 in groups]
    return Difference(
        first=first,
        second=second,
        difference=second - first,
        interval=bootstrap_intervals([difference_Q[:, None] for difference_Q in differences], level=level)[0],
        p_value=randomization_p_value(differences),
    )


def _notes(first: Report, second: Report) -> tuple[str, ...]:
    """Return what differs between the reports other than the systems."""
    conditions = (
        ("k", first.k, second.k),
        ("query source", first.task.query_source, second.task.query_source),
        ("revision", first.task.revision, second.task.revision),
        ("number of documents", first.task.documents, second.task.documents),
    )
    return tuple(f"{what}: {one} and {other}" for what, one, other in conditions if one != other)


def _system(reports: Sequence[Report]) -> str:
    """Return the system of the reports; raises EvaluationError if they are of several."""
    names = {report.system.label for report in reports}
    if len(names) > 1:
        raise EvaluationError(f"one side has reports of {', '.join(sorted(names))}; want one system per side")
    return names.pop()
