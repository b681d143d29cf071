"""The learning rate schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasonembed_training.loop import rate_at


def test_the_rate_rises_in_a_line_then_falls_in_a_line_to_one_step_above_nothing():
    rates = [rate_at(step, steps=10, warmup=0.2, schedule="linear") for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_the_cosine_is_half_way_in_the_middle():
    assert rate_at(50, steps=100, warmup=0, schedule="cosine") == pytest.approx(0.5)


def test_a_constant_rate_stays():
    assert {rate_at(step, steps=9, warmup=0, schedule="constant") for step in range(9)} == {1.0}


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from(["linear", "cosine", "constant"]))
def test_no_step_is_at_nothing_or_above_the_peak(steps, warmup, schedule):
    rates = [rate_at(step, steps=steps, warmup=warmup, schedule=schedule) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
