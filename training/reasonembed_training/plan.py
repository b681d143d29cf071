"""From recipe and rows to the plan of a run: which tasks, in which batches, for how many steps."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from reasonembed_rag.errors import TrainingError
from reasonembed_training.config import (
    AnchorConfig,
    BatchConfig,
    ConsistencyConfig,
    DataConfig,
    LossConfig,
    OptimConfig,
    TaskBatchConfig,
)
from reasonembed_training.data import Sampler, Source, TaskPlan, TaskRows
from reasonembed_training.objective import Distillation, Objective

__all__ = ["held_tasks", "objective_from", "sources_from", "steps_of", "task_plans"]


def sources_from(configs: Sequence[DataConfig]) -> list[Source]:
    """Return the sources of a recipe's [[data]] tables."""
    return [Source(**_fields(config)) for config in configs]


def task_plans(tasks: Sequence[TaskRows], config: BatchConfig) -> dict[str, TaskPlan]:
    """Return how each task is batched: the recipe's word for the task, then the rows' own, then the recipe's.

    Raises TrainingError for a task in batch.tasks that the data does not have.
    """
    _check_names("batch.tasks", config.tasks, tasks)
    return {task.name: _task_plan(task, config) for task in tasks}


def steps_of(sampler: Sampler, config: OptimConfig) -> int:
    """Return the optimiser steps of a run."""
    return config.max_steps or config.epochs * sampler.steps_per_epoch


def held_tasks(config: AnchorConfig, tasks: Sequence[TaskRows]) -> frozenset[str]:
    """Return the tasks that [anchor] holds, empty for all; raises TrainingError for one that the data does not have."""
    _check_names("anchor.tasks", config.tasks, tasks)
    return frozenset(config.tasks)


def objective_from(
    config: LossConfig,
    consistency: ConsistencyConfig,
    *,
    anchor: AnchorConfig,
    dimension: int,
    normalize: bool,
) -> Objective:
    """Return the objective of a recipe's [loss], [consistency] and [anchor].

    Raises TrainingError for Matryoshka dimensions that there are not.
    """
    wrong = [one for one in config.dimensions if not 1 <= one <= dimension]
    if wrong:
        raise TrainingError(f"loss.dimensions names {wrong[0]}; want 1 to {dimension}, the model's dimension")
    return Objective(
        temperature=config.temperature,
        mask_known=config.mask_known,
        margin=config.margin,
        dimensions=config.dimensions,
        normalize=normalize,
        distillation=Distillation(weight=config.distillation, grade_temperature=config.grade_temperature)
        if config.distillation
        else None,
        consistency=consistency.weight,
        anchor=anchor.weight,
    )


def _check_names(key: str, named: Iterable[str], tasks: Sequence[TaskRows]) -> None:
    names = [task.name for task in tasks]
    for name in named:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(map(repr, names))}"
            raise TrainingError(f"{key} names {name!r}, which no row belongs to; {hint}")


def _task_plan(task: TaskRows, config: BatchConfig) -> TaskPlan:
    own = config.tasks.get(task.name, TaskBatchConfig())
    queries, group = config.queries, config.group
    if config.published_devices is not None:
        queries = task.queries * config.published_devices if task.queries else queries
        group = task.group or group
    return TaskPlan(rows=len(task.rows), queries=own.queries or queries, group=own.group or group, weight=own.weight)


def _fields(config: DataConfig) -> Mapping[str, Any]:
    return asdict(config)
