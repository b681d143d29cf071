"""Intervals and tests keep the laws of resampling."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import significance as statistics
from reasonembed_rag.evaluation.significance import bootstrap_intervals, holm_p_values, randomization_p_value


def test_the_interval_of_many_queries_is_the_normal_one():
    values = np.random.default_rng(1).normal(0.4, 0.2, size=(2000, 1))
    interval = bootstrap_intervals([values])[0]
    half = 1.96 * values.std() / math.sqrt(2000)
    assert interval.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_a_fair_share_of_intervals_holds_the_true_mean():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        interval = bootstrap_intervals([rng.random((40, 1))], resamples=500)[0]
        held += interval.low <= 0.5 <= interval.high
    assert 175 <= held <= 199


def test_every_column_has_an_interval_of_its_own_and_constants_have_no_width():
    values = np.stack([np.full(30, 0.25), np.linspace(0, 1, 30)], axis=1)
    constant, spread = bootstrap_intervals([values])
    assert (constant.low, constant.high) == (0.25, 0.25)
    assert spread.low < 0.5 < spread.high


def test_tasks_weigh_the_same_however_many_queries_they_have():
    interval = bootstrap_intervals([np.ones((500, 1)), np.zeros((2, 1))])[0]
    assert (interval.low, interval.high) == (0.5, 0.5)


def test_blocks_change_nothing_but_memory(monkeypatch):
    groups = [np.random.default_rng(3).normal(size=(50, 2))]
    whole = bootstrap_intervals(groups, resamples=400)
    monkeypatch.setattr(statistics, "_BLOCK", 700)
    assert statistics._blocks(400, 50) == [14] * 28 + [8]
    parts = bootstrap_intervals(groups, resamples=400)
    for left, right in zip(whole, parts, strict=True):
        assert right.low == pytest.approx(left.low, abs=1e-12)


@settings(max_examples=40)
@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=9))
def test_few_queries_are_tested_over_every_assignment_of_signs(differences):
    values = np.asarray(differences)
    observed = abs(values.sum())
    means = [abs(sum(s * d for s, d in zip(signs, values, strict=True))) for signs in _signs(len(values))]
    expected = np.mean([mean >= observed - 1e-9 for mean in means])
    assert randomization_p_value([values]) == pytest.approx(expected)


def _signs(count):
    return itertools.product((-1, 1), repeat=count)


def test_tasks_weigh_the_same_in_the_test_too():
    many, few = np.asarray([0.1, 0.2, 0.3, 0.4]), np.asarray([-0.5])
    observed = abs(many.mean() + few.mean())
    flipped = [abs(np.mean(np.asarray(s[:4]) * many) + s[4] * few[0]) for s in _signs(5)]
    expected = np.mean([value >= observed - 1e-9 for value in flipped])
    assert randomization_p_value([many, few]) == pytest.approx(expected)


def test_drawn_signs_come_near_the_exact_test(monkeypatch):
    values = np.random.default_rng(4).normal(0.3, 1.0, size=12)
    exact = randomization_p_value([values])
    monkeypatch.setattr(statistics, "_EXACT_QUERIES", 0)
    assert randomization_p_value([values]) == pytest.approx(exact, abs=0.015)


def test_no_difference_is_no_evidence_and_a_large_one_is():
    assert randomization_p_value([np.zeros(100)]) == 1.0
    assert randomization_p_value([np.full(100, 0.1)]) == pytest.approx(1 / 20001)


def test_chance_alone_is_seldom_called_significant():
    rng = np.random.default_rng(5)
    called = sum(randomization_p_value([rng.normal(size=30)], resamples=400) < 0.05 for _ in range(200))
    assert called <= 22


def test_the_sign_of_the_difference_does_not_matter_nor_does_the_seed_wander():
    values = np.random.default_rng(6).normal(0.1, 1.0, size=60)
    assert randomization_p_value([values]) == randomization_p_value([values])
    assert randomization_p_value([values]) == pytest.approx(randomization_p_value([-values]), abs=0.01)


@pytest.mark.parametrize("groups", [[], [np.empty((0, 1))], [np.ones((2, 1)), np.empty((0, 1))]])
def test_nothing_to_resample_is_refused(groups):
    with pytest.raises(EvaluationError, match=r"\bquery\b"):
        bootstrap_intervals(groups)
    with pytest.raises(EvaluationError, match=r"\bquery\b"):
        randomization_p_value([group[:, 0] for group in groups])


def test_holm_s_p_values_are_those_worked_by_hand():
    assert holm_p_values([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_p_values([0.4, 0.001, 0.9]) == pytest.approx([0.8, 0.003, 0.9])
    assert holm_p_values([0.7]) == [0.7]
    assert holm_p_values([]) == []
