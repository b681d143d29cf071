"""Weights as integers: what states see of their errors, beside the nearest integers."""

from __future__ import annotations

import numpy as np
import pytest

from reasonembed_rag.graph.rounding import column_factors, error_carriers, rounded
from reasonembed_rag.graph.states import typical_states

K, N, TOKENS = 300, 40, 800


@pytest.fixture
def case():
    """Return states whose columns are correlated, other such states, a weight and its scales."""
    generator = np.random.default_rng(0)
    mixing = generator.standard_normal((60, K)) + 0.1 * generator.standard_normal((1, K))
    states, others = (
        (generator.standard_normal((TOKENS, 60)) @ mixing + generator.standard_normal((TOKENS, K))).astype(np.float32)
        for _ in range(2)
    )
    weight = generator.standard_normal((K, N)).astype(np.float32)
    return states, others, weight, np.abs(weight).max(axis=0) / 7


def error(states, weight, integers, scale):
    return float(np.linalg.norm(states @ (weight - integers * scale)))


def test_errors_cancel_on_the_states_and_on_others_of_their_kind(case):
    states, others, weight, scale = case
    nearest = rounded(weight, scale, None, largest=7)
    np.testing.assert_array_equal(nearest, np.rint(weight / scale))
    chosen = rounded(weight, scale, error_carriers(states), largest=7)
    assert error(others, weight, chosen, scale) < 0.6 * error(others, weight, nearest, scale)
    assert np.abs(chosen).max() == 7


def test_each_integer_is_the_nearest_to_what_later_rows_leave_to_it(case):
    states, _, weight, scale = case
    chosen = rounded(weight, scale, error_carriers(states), largest=7).astype(np.float64)
    moments = states.astype(np.float64).T @ states / TOKENS
    moments += 0.05 * np.diag(moments).mean() * np.eye(K)
    for row in (0, 127, 128, K - 1):
        lost = (weight - chosen * scale)[row + 1 :]
        inner = moments[:row, :row]  # earlier rows will make up for what they can
        reach = np.linalg.solve(inner, moments[:row, row:]) if row else np.zeros((0, K - row))
        left = moments[row:, row:] - moments[row:, :row] @ reach
        best = (weight[row] + left[0, 1:] @ lost / left[0, 0]) / scale
        np.testing.assert_allclose(chosen[row], np.clip(best, -7, 7), atol=0.51)


def test_states_that_are_one_direction_or_zero_or_not_finite_still_give_integers(case):
    _, _, weight, scale = case
    for states in (np.ones((5, K), np.float32), np.zeros((5, K), np.float32)):
        carriers = error_carriers(states)
        assert carriers is not None
        assert np.isfinite(carriers).all()
        assert np.abs(rounded(weight, scale, carriers, largest=7)).max() <= 7
    assert error_carriers(np.full((5, K), np.nan, np.float32)) is None
    assert error_carriers(np.full((5, K), np.inf, np.float32)) is None


def test_factors_leave_products_as_they_were_and_shrink_outliers(case):
    states, _, weight, _ = case
    states[:, 3] *= 1000
    factors = column_factors(states, [weight])
    np.testing.assert_allclose((states / factors) @ (weight * factors[:, None]), states @ weight, rtol=1e-3, atol=1.0)
    assert np.abs(states / factors).max() < 0.05 * np.abs(states).max()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_states_of_every_token_are_seen_by_every_layer(tiny_model, weights_of, sequences, pooling):
    weights = weights_of(tiny_model("bert"), pooling=pooling)
    seen = typical_states(weights)
    tokens = sum(map(len, sequences))
    layers = weights.config["num_hidden_layers"]
    assert len(seen) == 6 * layers
    for name, states in seen.items():
        is_down = "output.dense" in name and "attention" not in name
        assert states.shape == (tokens, weights.config["intermediate_size" if is_down else "hidden_size"])
        assert np.isfinite(states).all()
        assert np.ptp(states.astype(np.float32), axis=0).max() > 0
