"""Calibration: learn on judged queries which way of searching a query should take, and whether that is worth it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import (
    HEADLINE,
    Comparison,
    Report,
    RetrievalTask,
    RunOptions,
    System,
    check_tasks,
    compare,
    evaluate,
)
from reasonembed_rag.pipeline import PROBE_DEPTH, Router, Routes

__all__ = ["Calibration", "RoutingVerdict", "calibrate"]

RoutingVerdict = Literal["better", "not shown to be better", "not better"]

_FOLDS = 10
_LEAST_QUERIES = 20
_PENALTY = 1.0
"""Of the squared weights of standardised features, against as many losses as queries."""
_INTERCEPT_PENALTY = 0.01
_STEPS = 100
_CLOSE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A router, and how it did on the queries that it was learnt on: cross-validated, each routed by others' lesson."""

    router: Router
    arms: Mapping[str, tuple[Report, ...]]
    """Of each constant choice, one report per task."""
    routed: tuple[Report, ...]
    shares: Mapping[str, float]
    """The share of the queries that took each arm."""
    comparisons: Mapping[str, Comparison]
    """Each constant choice, then the routed queries."""
    best_arm: str
    """The best constant choice."""
    oracle: float
    """The mean if every query took its best arm: no router can do better."""

    @property
    def verdict(self) -> RoutingVerdict:
        """Against the best constant choice: better where the interval is above 0, not better where the mean is not."""
        mean = self.comparisons[self.best_arm].mean
        if self.router.is_constant or mean.difference <= 0.0:
            return "not better"
        return "better" if mean.interval.low > 0.0 else "not shown to be better"


def calibrate(
    build: Callable[[RetrievalTask], Routes],
    tasks: Sequence[RetrievalTask],
    *,
    options: RunOptions | None = None,
    on_arm: Callable[[str, str], None] | None = None,
) -> Calibration:
    """Learn a router on judged tasks; it is a constant choice where cross-validation does not show a higher mean.

    Each arm answers every query of every task; `on_arm` is called with the task's and the arm's name before it does.
    For each arm but the default, the constant choice of the highest mean, a logistic regression learns from the queries
    where it scores otherwise, weighted by the difference of nDCG@10. Raises InputError for no task, two of one name,
    fewer than 20 different queries, and arms that differ between tasks; EvaluationError as evaluate does.
    """
    _check(tasks)
    reports: dict[str, list[Report]] = {}
    features: list[NDArray[np.float64]] = []
    learnt_for: Mapping[str, str] = {}
    names: tuple[str, ...] = ()
    for task in tasks:
        routes = build(task)
        if learnt_for not in ({}, routes.learnt_for()):
            raise InputError(f"the arms or the retriever differ between {tasks[0].name} and {task.name}; want the same")
        learnt_for, names = routes.learnt_for(), routes.features
        for arm in routes.arms:
            if on_arm is not None:
                on_arm(task.name, arm.name)
            reports.setdefault(arm.name, []).append(evaluate(arm.retriever, task, system=arm.name, options=options))
        features.append(_features(routes, task))
    lessons = _lessons(tasks, reports, features, names)
    choices = _cross_validated(lessons)
    routed = _routed(reports, choices)
    comparisons = {arm: compare(of_arm, routed) for arm, of_arm in reports.items()}
    best = lessons.arms[lessons.best_arm(np.arange(len(lessons.texts)))]
    fitted = comparisons[best].mean.difference > 0.0
    everything = np.arange(len(lessons.texts))
    router = _learnt(lessons, everything)
    return Calibration(
        router=replace(
            router if fitted else replace(router, centres=(), scales=(), weights={}),
            learnt_for=learnt_for,
            queries=len(everything),
            dev_scores={arm: comparisons[arm].mean.first for arm in reports},
            dev_routed=comparisons[best].mean.second,
        ),
        arms={arm: tuple(of_arm) for arm, of_arm in reports.items()},
        routed=tuple(routed),
        shares={arm: choices.count(place) / len(choices) for place, arm in enumerate(lessons.arms)},
        comparisons=comparisons,
        best_arm=best,
        oracle=float(lessons.weights_Q @ lessons.scores_QA.max(axis=1)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Lessons:
    """Judged queries of all tasks: features, each arm's score, and weights under which the tasks count equally."""

    arms: tuple[str, ...]
    texts: tuple[str, ...]
    features: tuple[str, ...]
    features_QF: NDArray[np.float64]
    scores_QA: NDArray[np.float64]
    weights_Q: NDArray[np.float64]

    def best_arm(self, rows: NDArray[np.intp]) -> int:
        """Return the arm of the highest mean over these queries, the first of equal ones."""
        return int((self.weights_Q[rows] @ self.scores_QA[rows]).argmax())


def _check(tasks: Sequence[RetrievalTask]) -> None:
    check_tasks(tasks)
    queries = len({example.query for task in tasks for example in task.examples})
    if queries < _LEAST_QUERIES:
        raise InputError(f"got {queries} different queries; want at least {_LEAST_QUERIES}, better hundreds")


def _features(routes: Routes, task: RetrievalTask) -> NDArray[np.float64]:
    queries = [example.query for example in task.examples]
    excluded = [example.excluded_ids for example in task.examples]
    found = routes.probe.search(queries, k=PROBE_DEPTH, excluded_ids=excluded)
    return routes.look(queries, found, excluded)


def _lessons(
    tasks: Sequence[RetrievalTask],
    reports: Mapping[str, Sequence[Report]],
    features: Sequence[NDArray[np.float64]],
    names: tuple[str, ...],
) -> _Lessons:
    scores = []
    for number, task in enumerate(tasks):
        by_arm = [{one.id: one.measures[HEADLINE] for one in of_arm[number].queries} for of_arm in reports.values()]
        scores.append(np.asarray([[own.get(example.id, 0.0) for own in by_arm] for example in task.examples]))
    weights = [np.full(len(task.examples), 1.0 / (len(tasks) * len(task.examples))) for task in tasks]
    return _Lessons(
        arms=tuple(reports),
        texts=tuple(example.query for task in tasks for example in task.examples),
        features=names,
        features_QF=np.concatenate(features),
        scores_QA=np.concatenate(scores),
        weights_Q=np.concatenate(weights),
    )


def _cross_validated(lessons: _Lessons) -> list[int]:
    """Return the arm of each query, learnt on the queries of the other folds; equal texts share a fold."""
    texts = sorted(set(lessons.texts))
    order = np.random.default_rng(0).permutation(len(texts))
    fold_of = {texts[place]: number % _FOLDS for number, place in enumerate(order)}
    folds_Q = np.asarray([fold_of[text] for text in lessons.texts])
    chosen = np.zeros(len(folds_Q), dtype=np.intp)
    for fold in range(_FOLDS):
        held = np.flatnonzero(folds_Q == fold)
        if len(held):
            router = _learnt(lessons, np.flatnonzero(folds_Q != fold))
            chosen[held] = [lessons.arms.index(arm) for arm in router.choose(lessons.features_QF[held])]
    return [int(place) for place in chosen]


def _learnt(lessons: _Lessons, rows: NDArray[np.intp]) -> Router:
    """Return a router of these queries."""
    features_QF = lessons.features_QF[rows]
    centres_F, scales_F = features_QF.mean(axis=0), features_QF.std(axis=0)
    scales_F[scales_F < _CLOSE] = 1.0
    ones_Q1 = np.ones((len(rows), 1))
    design_QF = np.concatenate([ones_Q1, (features_QF - centres_F) / scales_F], axis=1)
    default = lessons.best_arm(rows)
    weights = {}
    for place, arm in enumerate(lessons.arms):
        gains_Q = lessons.scores_QA[rows, place] - lessons.scores_QA[rows, default]
        if place != default and gains_Q.any():
            losses_Q = lessons.weights_Q[rows] * np.abs(gains_Q)
            losses_Q *= np.count_nonzero(gains_Q) / losses_Q.sum()
            weights[arm] = tuple(_logistic(design_QF, gains_Q > 0, losses_Q).tolist())
    return Router(
        arms=lessons.arms,
        default=lessons.arms[default],
        features=lessons.features,
        learnt_for={},
        centres=tuple(centres_F.tolist()),
        scales=tuple(scales_F.tolist()),
        weights=weights,
    )


def _logistic(
    design_QF: NDArray[np.float64], helps_Q: NDArray[np.bool_], losses_Q: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weights (F,) of a logistic regression with an L2 penalty, by Newton's method with halved steps."""
    penalty_F = np.full(design_QF.shape[1], _PENALTY)
    penalty_F[0] = _INTERCEPT_PENALTY
    signs_Q = np.where(helps_Q, 1.0, -1.0)
    weights_F = np.zeros(design_QF.shape[1])

    def loss(at_F: NDArray[np.float64]) -> float:
        return float(losses_Q @ np.logaddexp(0.0, -signs_Q * (design_QF @ at_F)) + 0.5 * penalty_F @ at_F**2)

    for _ in range(_STEPS):
        shares_Q = np.exp(-np.logaddexp(0.0, -(design_QF @ weights_F)))
        gradient_F = design_QF.T @ (losses_Q * (shares_Q - helps_Q)) + penalty_F * weights_F
        curved_Q = losses_Q * shares_Q * (1.0 - shares_Q)
        step_F = np.linalg.solve((design_QF.T * curved_Q) @ design_QF + np.diag(penalty_F), gradient_F)
        size, before = 1.0, loss(weights_F)
        while loss(weights_F - size * step_F) > before and size > _CLOSE:
            size *= 0.5
        weights_F = weights_F - size * step_F
        if float(np.abs(size * step_F).max()) < _CLOSE:
            break
    return weights_F


def _routed(reports: Mapping[str, Sequence[Report]], choices: Sequence[int]) -> list[Report]:
    """Return reports of the routed queries, one per task."""
    routed, start = [], 0
    for of_task in zip(*reports.values(), strict=True):
        own = choices[start : start + of_task[0].task.queries]
        start += of_task[0].task.queries
        by_arm = [{query.id: query for query in report.queries} for report in of_task]
        queries = tuple(by_arm[place][query.id] for place, query in zip(own, of_task[0].queries, strict=True))
        routed.append(replace(of_task[0], system=System(name="routed"), queries=queries))
    return routed
