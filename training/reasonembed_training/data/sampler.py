"""Which rows form which global batch: a pure function of seed and step, so that a resumed run sees the same batches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import TrainingError

__all__ = ["GlobalBatch", "Sampler", "TaskPlan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """How the rows of one task are batched."""

    rows: int
    queries: int
    """Queries per global batch."""
    group: int
    """Documents per query: one positive, group - 1 negatives."""
    weight: float = 1.0
    """Passes over the task per epoch; 0.5 is half a pass, 2 is two."""

    @property
    def batches_per_pass(self) -> int:
        """Whole batches per pass; the remaining rows are skipped, others in every pass."""
        return self.rows // self.queries

    @property
    def batches_per_epoch(self) -> int:
        """Batches per epoch."""
        return round(self.batches_per_pass * self.weight)


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """The rows of one optimiser step, all of one task."""

    task: str
    rows: NDArray[np.int64]
    """Row numbers within the task."""
    draw: int
    """Number of the pass over the task; with the row it seeds which documents are drawn."""
    group: int

    def share(self, rank: int, world: int) -> NDArray[np.int64]:
        """Return the rows of process `rank` of `world`."""
        return self.rows[rank::world]


class Sampler:
    """Return the global batch of any step: each task is shuffled by itself, then the batches of all tasks together.

    Raises TrainingError if a task with a weight does not fill one batch, naming the rows that a step needs.
    """

    def __init__(self, plans: Mapping[str, TaskPlan], *, seed: int) -> None:
        _check(plans)
        self._plans = dict(plans)
        self._seed = seed
        self._epoch = -1
        self._order: list[tuple[str, int]] = []
        self._permutations: dict[tuple[str, int], NDArray[np.int64]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch over all tasks."""
        return sum(plan.batches_per_epoch for plan in self._plans.values())

    @property
    def rows_left_over(self) -> int:
        """Rows per pass that fill no batch, over all tasks."""
        return sum(plan.rows % plan.queries for plan in self._plans.values())

    def batch(self, step: int) -> GlobalBatch:
        """Return the batch of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.steps_per_epoch)
        self._enter(epoch)
        task, number = self._order[position]
        plan = self._plans[task]
        draw, index = divmod(epoch * plan.batches_per_epoch + number, plan.batches_per_pass)
        rows = self._permutation(task, draw)[index * plan.queries : (index + 1) * plan.queries]
        return GlobalBatch(task, rows, draw, plan.group)

    def _enter(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        batches = [(task, number) for task, plan in self._plans.items() for number in range(plan.batches_per_epoch)]
        order = _generator(self._seed, "epoch", epoch).permutation(len(batches))
        self._order = [batches[index] for index in order]
        self._epoch = epoch
        self._permutations.clear()

    def _permutation(self, task: str, draw: int) -> NDArray[np.int64]:
        key = (task, draw)
        if key not in self._permutations:
            self._permutations[key] = _generator(self._seed, f"task {task}", draw).permutation(self._plans[task].rows)
        return self._permutations[key]


def _generator(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return an independent generator per purpose and number, so that adding a task does not reorder the others."""
    name = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng([seed, name, number])


def _check(plans: Mapping[str, TaskPlan]) -> None:
    for task, plan in plans.items():
        if plan.queries < 1 or plan.group < 1 or plan.weight < 0:
            raise TrainingError(
                f"task {task!r}: queries {plan.queries}, group {plan.group}, weight {plan.weight}; "
                "want queries and group of at least 1 and a weight of at least 0"
            )
        if plan.weight > 0 and plan.batches_per_epoch < 1:
            raise TrainingError(
                f"task {task!r} has {plan.rows} rows at weight {plan.weight:g}; a step needs {plan.queries} of them: "
                "add data, lower batch.queries (for this task: batch.tasks), raise its weight or set it to 0"
            )
    if not any(plan.batches_per_epoch for plan in plans.values()):
        raise TrainingError("no task has a weight above 0; want at least one")
