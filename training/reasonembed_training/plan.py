"""From a recipe and its rows to the plan of a run: tasks, batches, steps, objective."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from reasonembed_rag.errors import TrainingError, want_one_of
from reasonembed_rag.perturb import Rewording, find_thesaurus
from reasonembed_training.config import BatchConfig, DataConfig, OptimConfig, TaskBatchConfig
from reasonembed_training.data import QueryPerturber, RowSource, Sampler, TaskPlan, TaskRows
from reasonembed_training.objective import Distillation, Objective
from reasonembed_training.objective_config import ConsistencyConfig, LossConfig, ReferenceConfig, TeacherConfig

__all__ = ["objective_from", "perturber_from", "regularised_tasks", "sources_from", "steps_of", "task_plans"]


def sources_from(configs: Sequence[DataConfig]) -> list[RowSource]:
    """Return the sources of a recipe's [[data]] tables."""
    return [RowSource(**asdict(config)) for config in configs]


def task_plans(tasks: Sequence[TaskRows], config: BatchConfig) -> dict[str, TaskPlan]:
    """Return how each task is batched: by its [batch.tasks], else by its rows' own sizes, else by [batch].

    Raises TrainingError for a task in batch.tasks that the data does not have.
    """
    _check_names("batch.tasks", config.tasks, tasks)
    return {task.name: _task_plan(task, config) for task in tasks}


def steps_of(sampler: Sampler, config: OptimConfig) -> int:
    """Return the number of optimiser steps of a run."""
    return config.max_steps or config.epochs * sampler.steps_per_epoch


def regularised_tasks(config: ReferenceConfig, tasks: Sequence[TaskRows]) -> frozenset[str]:
    """Return reference.tasks, empty for all; raises TrainingError for one that the data does not have."""
    _check_names("reference.tasks", config.tasks, tasks)
    return frozenset(config.tasks)


def perturber_from(config: ConsistencyConfig, *, seed: int) -> QueryPerturber | None:
    """Return the query perturber of a recipe's [consistency], None if it is off.

    Raises MissingDependencyError for synonymizing where no thesaurus is installed.
    """
    if not config.weight:
        return None
    rewording = Rewording(thesauri=(find_thesaurus(),)) if "synonymizing" in config.kinds else None
    return QueryPerturber(kinds=config.kinds, seed=seed, rewording=rewording)


def objective_from(
    config: LossConfig,
    consistency: ConsistencyConfig,
    *,
    reference: ReferenceConfig,
    teacher: TeacherConfig,
    dimension: int,
    normalize: bool,
) -> Objective:
    """Return the objective of a recipe's [loss], [consistency], [reference] and [teacher].

    Raises TrainingError for Matryoshka dimensions that the model does not have.
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
        reference=reference.weight,
        teacher=teacher.weight,
    )


def _check_names(key: str, named: Iterable[str], tasks: Sequence[TaskRows]) -> None:
    names = [task.name for task in tasks]
    for name in named:
        if name not in names:
            raise TrainingError(f"{key} names {name!r}, which has no rows; {want_one_of(name, names)}")


def _task_plan(task: TaskRows, config: BatchConfig) -> TaskPlan:
    own = config.tasks.get(task.name, TaskBatchConfig())
    queries, group = config.queries, config.group
    if config.published_devices is not None:
        queries = task.queries * config.published_devices if task.queries else queries
        group = task.group or group
    return TaskPlan(rows=len(task.rows), queries=own.queries or queries, group=own.group or group, weight=own.weight)
