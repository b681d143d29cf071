"""Compare several models balanced over tasks and kinds of queries: where a model gains, and at what cost.

The statistical model is measure ~ model * level + (1 | task / query) of arXiv 2604.16576. If every model scored every
query, the contrast of two models' estimated marginal means has a closed form for any variance components: the mean over
levels of the mean difference in a level. The means themselves have none and are not reported.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import EvaluationError, InputError, want_one_of
from reasonembed_rag.evaluation import HEADLINE, MEASURES, Interval, Report, resampled_means
from reasonembed_rag.tasks import TASKS

__all__ = ["Contrast", "Level", "ModelComparison", "Resampled", "Trade", "compare_models"]

Resampled = Literal["queries", "tasks"]

_RESAMPLES = 10_000
_MISSING_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of a factor: its number of queries, and their mean difference from the baseline."""

    name: str
    queries: int
    difference: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """EMM(model) - EMM(baseline), every level weighted equally."""

    model: str
    factor: str
    """task or query type."""
    difference: float
    interval: Interval
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A model's loss on general tasks and gain on reasoning tasks, both against the best general model."""

    model: str
    tax: float | None
    """Mean of the best general model over the general tasks minus that of this one; None without general tasks."""
    gain: float | None
    """Mean of this model over the reasoning tasks minus that of the best general one; None without reasoning tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """Models on the same queries of the same tasks."""

    measure: str
    baseline: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    queries: int
    resampled: Resampled
    contrasts: tuple[Contrast, ...]
    """By task and by query type, each model against the baseline."""
    trades: tuple[Trade, ...]
    general_models: tuple[str, ...]
    reasoning_tasks: tuple[str, ...]

    def contrast(self, model: str, factor: str) -> Contrast:
        """Return a model's contrast by a factor; raises EvaluationError if there is none."""
        for contrast in self.contrasts:
            if (contrast.model, contrast.factor) == (model, factor):
                return contrast
        raise EvaluationError(f"no contrast of {model!r} by {factor!r}; models are {', '.join(self.models)}")


def compare_models(
    reports: Sequence[Report],
    *,
    baseline: str | None = None,
    general_models: Collection[str] | None = None,
    reasoning_tasks: Collection[str] | None = None,
    measure: str = HEADLINE,
    resampled: Resampled = "queries",
) -> ModelComparison:
    """Compare models by their reports on the same tasks.

    By default, the baseline is the first report's model, the only general model is the baseline, and the reasoning
    tasks are BRIGHT's. The 95 % intervals resample queries within each level, or whole tasks. Raises EvaluationError,
    naming the missing cells, if not every model scored every query of every task, and for an unknown measure, model or
    task, and fewer than two models.
    """
    if measure not in MEASURES:
        raise EvaluationError(f"measure is {measure!r}; {want_one_of(measure, MEASURES)}")
    if resampled not in get_args(Resampled):
        raise InputError(f"resampled is {resampled!r}; {want_one_of(resampled, get_args(Resampled))}")
    block = _block(reports, measure)
    if resampled == "tasks" and len(block.tasks) < 2:
        raise EvaluationError(
            f"got reports of {block.tasks[0]} alone; want several tasks to resample, or resample queries"
        )
    baseline = baseline if baseline is not None else block.models[0]
    general = tuple(general_models) if general_models is not None else (baseline,)
    _check_known((baseline, *general), block.models, what="model")
    name_of = {report.task.label: report.task.name for report in reports}
    reasoning = (
        tuple(task for task in block.tasks if name_of[task].removeprefix("bright_") in TASKS)
        if reasoning_tasks is None
        else tuple(reasoning_tasks)
    )
    _check_known(reasoning, block.tasks, what="task")
    return ModelComparison(
        measure=measure,
        baseline=baseline,
        models=block.models,
        tasks=block.tasks,
        queries=block.values_MQ.shape[1],
        resampled=resampled,
        contrasts=tuple(
            _contrast(block, model, baseline=baseline, factor=factor, resampled=resampled)
            for model in block.models
            if model != baseline
            for factor in block.levels_of
        ),
        trades=_trades(block, general, reasoning),
        general_models=general,
        reasoning_tasks=reasoning,
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """A complete block of values (M, Q), with each query's level of both factors, task and query type."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    values_MQ: NDArray[np.float64]
    levels_of: Mapping[str, tuple[str, ...]]


def _block(reports: Sequence[Report], measure: str) -> _Block:
    """Arrange the reports as a block; raises EvaluationError for missing or duplicate cells."""
    cells: dict[tuple[str, str], Report] = {}
    for report in reports:
        cell = (report.system.label, report.task.label)
        if cell in cells:
            raise EvaluationError(f"got two reports of {cell[0]} on {cell[1]}; want one")
        cells[cell] = report
    models = tuple(dict.fromkeys(model for model, _ in cells))
    tasks = tuple(dict.fromkeys(task for _, task in cells))
    if len(models) < 2:
        raise EvaluationError(f"got reports of {', '.join(models) or 'no model'}; want at least two models")
    missing = [f"{model} on {task}" for model in models for task in tasks if (model, task) not in cells]
    queries = {task: _queries([report for (_, of), report in cells.items() if of == task]) for task in tasks}
    for (model, task), report in cells.items():
        scored = {query.id for query in report.queries}
        missing += [f"{model} on {task}, query {query}" for query in queries[task] if query not in scored]
    if missing:
        more = f" and {len(missing) - _MISSING_SHOWN} more" if len(missing) > _MISSING_SHOWN else ""
        raise EvaluationError(
            f"the block is incomplete: missing {'; '.join(missing[:_MISSING_SHOWN])}{more}; "
            "evaluate every model on every query of every task"
        )
    columns = [(task, query) for task in tasks for query in queries[task]]
    measured = {cell: {query.id: query.measures[measure] for query in report.queries} for cell, report in cells.items()}
    return _Block(
        models,
        tasks,
        np.asarray([[measured[model, task][query] for task, query in columns] for model in models]),
        {
            "task": tuple(task for task, _ in columns),
            "query type": tuple(queries[task][query] for task, query in columns),
        },
    )


def _queries(reports: Sequence[Report]) -> Mapping[str, str]:
    """Return the type of each scored query of a task; raises EvaluationError if the judgements differ."""
    if len({report.task.digest for report in reports}) > 1:
        raise EvaluationError(
            f"the reports of {reports[0].task.label} differ in queries, gold ids or exclusions; "
            "evaluate all models on the same"
        )
    return {query.id: query.query_type or "unknown" for report in reports for query in report.queries}


def _contrast(block: _Block, model: str, *, baseline: str, factor: str, resampled: Resampled) -> Contrast:
    difference_Q = block.values_MQ[block.models.index(model)] - block.values_MQ[block.models.index(baseline)]
    level_of = block.levels_of[factor]
    levels_Q = np.asarray(level_of, dtype=object)
    groups = {name: np.flatnonzero(levels_Q == name) for name in dict.fromkeys(level_of)}
    means_L = [float(difference_Q[group].mean()) for group in groups.values()]
    drawn_RL = np.concatenate(
        [resampled_means(difference_Q[g][:, None], _RESAMPLES, level) for level, g in enumerate(groups.values())],
        axis=1,
    )
    drawn_R = drawn_RL.mean(axis=1) if resampled == "queries" else _over_tasks(block, difference_Q, factor)
    return Contrast(
        model=model,
        factor=factor,
        difference=float(np.mean(means_L)),
        interval=_interval(drawn_R),
        levels=tuple(
            Level(name=name, queries=len(group), difference=mean, interval=_interval(drawn_RL[:, column]))
            for column, ((name, group), mean) in enumerate(zip(groups.items(), means_L, strict=True))
        ),
    )


def _over_tasks(block: _Block, difference_Q: NDArray[np.float64], factor: str) -> NDArray[np.float64]:
    """Return the contrast (R,) over tasks drawn with replacement; levels without a drawn task are left out."""
    tasks_Q, levels_Q = (np.asarray(block.levels_of[name], dtype=object) for name in ("task", factor))
    of_task_TQ = np.stack([tasks_Q == task for task in block.tasks]).astype(np.float64)
    of_level_QL = np.stack([levels_Q == name for name in dict.fromkeys(block.levels_of[factor])]).T
    sums_TL = (of_task_TQ * difference_Q) @ of_level_QL
    counts_TL = of_task_TQ @ of_level_QL
    drawn_RT = np.random.default_rng(0).integers(len(block.tasks), size=(_RESAMPLES, len(block.tasks)))
    times_RT = (drawn_RT[:, :, None] == np.arange(len(block.tasks))).sum(axis=1)
    if factor == "task":  # a task drawn twice counts as two levels
        return np.asarray(times_RT @ (np.diag(sums_TL) / np.diag(counts_TL)) / len(block.tasks))
    counts_RL = times_RT @ counts_TL
    means_RL = (times_RT @ sums_TL) / np.maximum(counts_RL, 1)
    return np.asarray(means_RL.sum(axis=1) / (counts_RL > 0).sum(axis=1))


def _interval(means_R: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(means_R, (0.025, 0.975))
    return Interval(float(low), float(high))


def _trades(block: _Block, general: Sequence[str], reasoning: Collection[str]) -> tuple[Trade, ...]:
    """Return the tax and gain of each model from means of the tasks' means."""
    tasks_Q = np.asarray(block.levels_of["task"], dtype=object)
    of_task = {task: block.values_MQ[:, tasks_Q == task].mean(axis=1) for task in block.tasks}
    sides = [[task for task in block.tasks if (task in reasoning) is wanted] for wanted in (False, True)]
    rows = [block.models.index(model) for model in general]
    above_best: list[NDArray[np.float64] | None] = []
    for side in sides:
        means_M = np.mean([of_task[task] for task in side], axis=0) if side else None
        above_best.append(means_M - means_M[rows].max() if means_M is not None else None)
    on_general, on_reasoning = above_best
    return tuple(
        Trade(
            model=model,
            tax=float(0.0 - on_general[row]) if on_general is not None else None,
            gain=float(on_reasoning[row]) if on_reasoning is not None else None,
        )
        for row, model in enumerate(block.models)
    )


def _check_known(names: Collection[str], known: Sequence[str], *, what: str) -> None:
    for name in names:
        if name not in known:
            raise EvaluationError(f"no report of {what} {name!r}; {want_one_of(name, known)}")
