"""Comparisons pair queries, weigh tasks equally and refuse what cannot be compared."""

import dataclasses

import numpy as np
import pytest

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation.comparison import QueryPair, compare, compare_systems
from reasonembed_rag.evaluation.report import System
from reasonembed_rag.evaluation.run import QueryResult, Run
from reasonembed_rag.evaluation.scoring import score_run
from reasonembed_rag.evaluation.significance import holm_p_values
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.hits import Hits


def _task(name, queries):
    return RetrievalTask(name, None, (), tuple(Example(f"{name}{n}", "why", ("g",)) for n in range(queries)))


def _report(task, places, *, system="A", through="core"):
    """Put the gold document at each query's place, 0 for not at all, None for no ranking."""
    results = []
    for example, place in zip(task.examples, places, strict=True):
        if place is not None:
            ids = [f"d{n}" for n in range(10)]
            if place:
                ids[place - 1] = "g"
            results.append(QueryResult(example.id, Hits(tuple(ids), -np.arange(10, dtype=np.float32))))
    return score_run(Run(tuple(results), 10), task, system=System(name=system, through=through))


_MANY, _FEW = _task("many", 4), _task("few", 1)


def test_differences_are_paired_by_query():
    comparison = compare(
        [_report(_MANY, [1, 1, 0, None])], [_report(_MANY, [2, 1, None, 1], system="B")], measure="MRR"
    )
    assert (comparison.first, comparison.second) == ("A", "B")
    assert comparison.tasks[0].queries == (
        QueryPair("many0", 1.0, 0.5),
        QueryPair("many1", 1.0, 1.0),
        QueryPair("many2", 0.0, 0.0),
        QueryPair("many3", 0.0, 1.0),
    )
    mean = comparison.mean
    assert (mean.first, mean.second, mean.difference) == (0.5, 0.625, 0.125)
    assert mean.interval.low < 0.125 < mean.interval.high
    assert mean.p_value == 1.0 == comparison.tasks[0].mean.p_value


def test_the_overall_mean_weighs_tasks_and_not_queries():
    first = [_report(_MANY, [1, 1, 1, 1]), _report(_FEW, [0])]
    second = [_report(_FEW, [1], system="B"), _report(_MANY, [1, 1, 1, 1], system="B")]
    comparison = compare(first, second)
    assert [task.task for task in comparison.tasks] == ["many", "few"]
    assert (comparison.mean.first, comparison.mean.second) == (0.5, 1.0)


def test_the_interval_has_the_sign_of_the_difference():
    worse, better = _report(_MANY, [0, 2, 0, 2]), _report(_MANY, [1, 1, 1, 1], system="B")
    assert compare([worse], [better]).mean.interval.low > 0
    assert compare([better], [worse]).mean.interval.high < 0


def test_a_system_equals_itself():
    report = _report(_MANY, [1, 2, 3, 0])
    assert compare(report, report) == compare([report], [report])
    mean = compare([report], [report]).mean
    assert (mean.difference, mean.interval.low, mean.interval.high, mean.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_what_differs_beside_the_system_is_noted():
    report = _report(_MANY, [1, 2, 3, 0])
    task = dataclasses.replace(report.task, query_source="gpt4_reason", revision="f" * 40)
    other = dataclasses.replace(report, task=task, k=5)
    assert compare([report], [other]).tasks[0].notes == (
        "k: 10 and 5",
        "query source: original and gpt4_reason",
        f"revision: None and {'f' * 40}",
    )


def test_a_framework_s_path_is_part_of_the_system_s_name():
    comparison = compare([_report(_FEW, [1])], [_report(_FEW, [1], through="langchain")])
    assert (comparison.first, comparison.second) == ("A", "A (langchain)")


_OTHER = RetrievalTask("many", None, (), tuple(dataclasses.replace(e, gold_ids=("d0",)) for e in _MANY.examples))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [_report(_FEW, [1])], r"\breport\b"),
        ([_report(_FEW, [1])], [_report(_MANY, [1] * 4)], r"\bfew, many\b"),
        ([_report(_MANY, [1] * 4)], [_report(_OTHER, [1] * 4)], r"\bmany\b.*\bgold\b"),
        ([_report(_FEW, [1])] * 2, [_report(_FEW, [1])], r"\btask\b"),
        (
            [_report(_FEW, [1]), _report(_MANY, [1] * 4, system="B")],
            [_report(_FEW, [1]), _report(_MANY, [1] * 4)],
            r"\bA, B\b",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, message):
    with pytest.raises(EvaluationError, match=message):
        compare(first, second)


def test_an_unknown_measure_is_refused_with_the_known_ones():
    with pytest.raises(EvaluationError, match=r"\bmeasure\b.*'ndcg'.*\bnDCG@1\b"):
        compare([_report(_FEW, [1])], [_report(_FEW, [1])], measure="ndcg")


def test_every_pair_of_several_systems_is_compared_and_corrected():
    sides = [
        [_report(_MANY, places, system=name)] for name, places in (("A", [0] * 4), ("B", [1, 2, 0, 1]), ("C", [1] * 4))
    ]
    comparison = compare_systems(sides)
    assert comparison.systems == ("A", "B", "C")
    assert [(pair.comparison.first, pair.comparison.second) for pair in comparison.pairs] == [
        ("A", "B"),
        ("A", "C"),
        ("B", "C"),
    ]
    assert comparison.level == pytest.approx(1 - 0.05 / 3)
    raw = [pair.comparison.mean.p_value for pair in comparison.pairs]
    assert [pair.p_value for pair in comparison.pairs] == holm_p_values(raw)
    alone = compare(sides[0], sides[1]).mean.interval
    wide = comparison.pairs[0].comparison.mean.interval
    assert wide.low <= alone.low <= alone.high <= wide.high
    assert wide != alone


def test_two_systems_are_compared_as_by_compare():
    sides = [_report(_MANY, [0, 2, 0, 2])], [_report(_MANY, [1, 1, 1, 1], system="B")]
    (pair,) = compare_systems(sides).pairs
    assert pair.comparison == compare(*sides)
    assert pair.p_value == pair.comparison.mean.p_value


def test_one_system_alone_and_two_of_one_name_are_refused():
    report = _report(_MANY, [1, 2, 3, 0])
    with pytest.raises(EvaluationError, match=r"\b1\b.*\btwo\b"):
        compare_systems([report])
    with pytest.raises(EvaluationError, match="'A'"):
        compare_systems([report, report])
