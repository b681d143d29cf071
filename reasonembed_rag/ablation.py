"""Ablation: what each stage of a pipeline gains on judged tasks, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import (
    HEADLINE,
    Difference,
    Report,
    RetrievalTask,
    RunOptions,
    check_tasks,
    compare,
    evaluate,
)
from reasonembed_rag.pipeline import Pipeline, StageCost

__all__ = ["AblatedPipeline", "AblatedTask", "Ablation", "StageEffect", "StageGain", "Verdict", "ablate"]

Verdict = Literal["helps", "hurts", "not shown to help"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblatedTask:
    """One variant on one task."""

    report: Report
    costs: tuple[StageCost, ...]
    """Of the retriever and of each stage in the variant, innermost first."""

    @property
    def llm_cost(self) -> float | None:
        """What chat models were paid, by the prices in their settings; None where there are none."""
        known = [cost.llm_cost for cost in self.costs if cost.llm_cost is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AblatedPipeline:
    """The pipeline with some of its stages, on every task."""

    name: str
    """full, no stage, without STAGE or STAGE alone."""
    stages: tuple[str, ...]
    tasks: tuple[AblatedTask, ...]

    @property
    def reports(self) -> list[Report]:
        """The reports, one per task."""
        return [one.report for one in self.tasks]

    @property
    def mean(self) -> float:
        """The mean over tasks of the headline measure."""
        return float(np.mean([report.mean(HEADLINE) for report in self.reports]))

    def latency(self, which: Literal["p50", "p95"]) -> float | None:
        """Return the mean over tasks of a quantile of the seconds per query; None where queries ran in batches."""
        latencies = [report.latency for report in self.reports]
        known = [getattr(one, which) for one in latencies if one is not None]
        return float(np.mean(known)) if len(known) == len(latencies) else None

    def llm_calls(self) -> int:
        """Return the calls of chat models, those answered from a cache included where the stage counts them."""
        return sum(cost.llm_calls or 0 for one in self.tasks for cost in one.costs)

    def llm_tokens(self) -> int:
        """Return the tokens that chat models read and wrote."""
        return sum(cost.llm_tokens or 0 for one in self.tasks for cost in one.costs)

    def llm_cost(self) -> float | None:
        """Return what chat models were paid, by the prices in their settings; None where there are none."""
        known = [one.llm_cost for one in self.tasks if one.llm_cost is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageGain:
    """What a stage gains on a task, or on the mean of the tasks."""

    task: str | None
    """None: the mean of the tasks."""
    within: Difference
    """The pipeline without the stage, then the full one."""
    alone: Difference
    """No stage, then the stage alone."""
    better: int
    """How many queries score higher with the stage, within the pipeline."""
    worse: int

    @property
    def verdict(self) -> Verdict:
        """What the interval within the pipeline allows to say."""
        if self.within.interval.low > 0:
            return "helps"
        return "hurts" if self.within.interval.high < 0 else "not shown to help"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEffect:
    """What a stage gains: the full pipeline less that without it, and the stage alone less no stage."""

    stage: str
    mean: StageGain
    tasks: tuple[StageGain, ...]

    @property
    def gains(self) -> tuple[StageGain, ...]:
        """The gain on each task and on their mean; of one task, that alone."""
        return (*self.tasks, self.mean) if len(self.tasks) > 1 else self.tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """All variants of a pipeline and the effect of each stage."""

    variants: tuple[AblatedPipeline, ...]
    effects: tuple[StageEffect, ...]


def ablate(
    build: Callable[[RetrievalTask], Pipeline],
    tasks: Sequence[RetrievalTask],
    *,
    options: RunOptions | None = None,
    on_variant: Callable[[str, str], None] | None = None,
) -> Ablation:
    """Measure the pipeline, the pipeline without each stage, each stage alone, and no stage, on every task.

    `build` makes the pipeline for a task once; variants share its retriever and what stages keep, such as answers of
    chat models. Equal variants are run once. `on_variant` is told the task and the variant before it runs. Raises
    InputError for no task, two of one name, and a pipeline without stages or with others than before; EvaluationError
    as evaluate does.
    """
    check_tasks(tasks)
    measured: dict[tuple[str, ...], list[AblatedTask]] = {}
    names: tuple[str, ...] | None = None
    for task in tasks:
        pipeline = build(task)
        own = tuple(stage.name for stage in pipeline.stages)
        if not own:
            raise InputError("the pipeline has no stage to leave out; want at least one")
        if names not in (None, own):
            raise InputError(f"the pipeline has the stages {own} for {task.name}, {names} before; want the same")
        names = own
        for stages in dict.fromkeys(one for _, one in _variants(own)):
            if on_variant is not None:
                on_variant(task.name, " + ".join(stages) or "no stage")
            measured.setdefault(stages, []).append(_measure(pipeline.only(stages), task, stages, options))
    names = names or ()
    variants = tuple(
        AblatedPipeline(name=name, stages=stages, tasks=tuple(measured[stages])) for name, stages in _variants(names)
    )
    return Ablation(variants=variants, effects=tuple(_effect(stage, names, variants) for stage in names))


def _variants(names: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "full", names
    for name in names:
        yield f"without {name}", tuple(other for other in names if other != name)
    for name in names:
        yield f"{name} alone", (name,)
    yield "no stage", ()


def _measure(
    pipeline: Pipeline, task: RetrievalTask, stages: tuple[str, ...], options: RunOptions | None
) -> AblatedTask:
    report = evaluate(pipeline, task, system=" + ".join(stages) or "no stage", options=options)
    return AblatedTask(report=report, costs=pipeline.costs())


def _effect(stage: str, names: tuple[str, ...], variants: Sequence[AblatedPipeline]) -> StageEffect:
    by_stages = {variant.stages: variant.reports for variant in variants}
    rest = tuple(name for name in names if name != stage)
    within = compare(by_stages[rest], by_stages[names])
    alone = compare(by_stages[()], by_stages[(stage,)])
    tasks = tuple(
        StageGain(task=one.label, within=one.mean, alone=by_itself.mean, better=one.better, worse=one.worse)
        for one, by_itself in zip(within.tasks, alone.tasks, strict=True)
    )
    mean = StageGain(
        task=None,
        within=within.mean,
        alone=alone.mean,
        better=sum(one.better for one in tasks),
        worse=sum(one.worse for one in tasks),
    )
    return StageEffect(stage=stage, mean=mean, tasks=tasks)
