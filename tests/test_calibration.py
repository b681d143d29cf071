"""Calibration: a router is learnt where queries tell which arm helps, and is a constant where they do not."""

from __future__ import annotations

import random

import pytest

from reasonembed_rag import Document, Hits
from reasonembed_rag.calibration import calibrate
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import Example, RetrievalTask
from reasonembed_rag.pipeline import RouteArm, RoutedRetriever, Routes

IDS = [f"{number:02}" for number in range(60)]


def _task(*, name: str = "made", count: int = 60) -> RetrievalTask:
    """Return queries of which every other one ends in a question mark."""
    examples = [Example(i, f"{i} words{'?' if int(i) % 2 else ''}", (i,)) for i in IDS[:count]]
    return RetrievalTask(name, "dev", [Document(i, i) for i in IDS], tuple(examples))


class Knows:
    """Find the gold document first for the queries that it knows, last for others."""

    def __init__(self, name, known):
        self.name, self.known = name, known

    def identity(self):
        return self.name

    def search(self, queries, *, k, excluded_ids=None):
        return [self._one(query, k) for query in queries]

    def _one(self, query, k):
        gold = query[:2]
        rest = [one for one in IDS if one != gold]
        ranked = [gold, *rest] if self.known(query) else [*rest, gold]
        return Hits(tuple(ranked[:k]), [float(-rank) for rank in range(len(ranked[:k]))])


def _routes(first, second) -> Routes:
    probe = Knows("probe", lambda query: False)
    return Routes(probe, [RouteArm("first", Knows("a", first)), RouteArm("second", Knows("b", second))])


def test_a_router_is_learnt_where_the_query_tells_which_arm_helps():
    routes = _routes(lambda query: query.endswith("?"), lambda query: not query.endswith("?"))
    done = []
    result = calibrate(lambda task: routes, [_task()], on_arm=lambda task, arm: done.append((task, arm)))
    assert done == [("made", "first"), ("made", "second")]
    assert result.verdict == "better"
    assert (result.router.dev_routed, result.router.queries) == (1.0, 60)
    assert result.oracle == pytest.approx(1.0)
    assert result.router.dev_scores == {"first": 0.5, "second": 0.5}
    assert result.shares == {"first": 0.5, "second": 0.5}
    found = RoutedRetriever(routes, result.router).search(["01 words?", "02 words"], k=1)
    assert [hits.ids for hits in found] == [("01",), ("02",)]
    again = calibrate(lambda task: routes, [_task()])
    assert again.router == result.router


def test_an_arm_that_is_always_better_is_the_constant_choice():
    result = calibrate(lambda task: _routes(lambda query: False, lambda query: True), [_task()])
    assert result.router.is_constant
    assert (result.router.default, result.best_arm, result.verdict) == ("second", "second", "not better")


def test_noise_is_no_better_than_the_better_constant_and_kept_out():
    generator = random.Random(3)
    coin = {identity: generator.random() < 0.7 for identity in IDS}
    result = calibrate(lambda task: _routes(lambda q: coin[q[:2]], lambda q: not coin[q[:2]]), [_task()])
    assert result.verdict != "better"
    assert result.router.is_constant == (result.comparisons[result.best_arm].mean.difference <= 0)


def test_what_cannot_be_learnt_from_is_refused():
    routes = _routes(lambda query: True, lambda query: False)
    with pytest.raises(InputError, match="got no task"):
        calibrate(lambda task: routes, [])
    with pytest.raises(InputError, match="got two tasks named made"):
        calibrate(lambda task: routes, [_task(), _task()])
    with pytest.raises(InputError, match="got 19 different queries; want at least 20"):
        calibrate(lambda task: routes, [_task(count=19)])
    made = iter([routes, Routes(Knows("new", lambda query: False), routes.arms)])
    with pytest.raises(InputError, match="differ between made and other"):
        calibrate(lambda task: next(made), [_task(), _task(name="other")])
