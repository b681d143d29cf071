"""Products in 8-bit integers against float64, row by row."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from reasonembed_rag.graph import products
from reasonembed_rag.graph.builder import GraphBuilder
from reasonembed_rag.graph.cache import open_memory
from reasonembed_rag.graph.products import LinearLayer, Products
from reasonembed_rag.graph.session import session_options


@pytest.fixture
def multiply(tmp_path):
    """Return what a graph makes of states (1, S, K): multiply(states, layer, part)."""

    def run(states, layer, part):
        builder = GraphBuilder()
        (output,) = Products(frozenset({part})).multiply(builder, builder.constant("given", states), [layer], part)
        graph = builder.finish(output, width=layer.weight_KN.shape[1])
        opened = open_memory(graph, functools.partial(session_options, threads=1))
        inputs = {"ids": np.zeros((1, 1), np.int32), "lengths": np.ones(1, np.int32)}
        return opened.session.run(None, inputs)[0]

    return run


@pytest.fixture
def layer():
    generator = np.random.default_rng(0)
    weight, bias = generator.standard_normal((96, 32)), generator.standard_normal(32)
    return LinearLayer("linear", weight.astype(np.float32), bias.astype(np.float32))


def row_errors(got, states, layer):
    """Return the error of each row's product, before the bias, by the size of that product."""
    exact = states[0].astype(np.float64) @ layer.weight_KN.astype(np.float64)
    return np.linalg.norm(got[0] - layer.bias_N - exact, axis=1) / np.linalg.norm(exact, axis=1)


@pytest.mark.parametrize("most", [63, 127])
def test_behind_an_activation_large_states_of_one_token_do_not_coarsen_another(multiply, layer, monkeypatch, most):
    monkeypatch.setattr(products, "largest_weight", lambda: most)
    states = np.random.default_rng(1).standard_normal((1, 5, 96)).astype(np.float32)
    states[0, 2] *= 1000
    assert row_errors(multiply(states, layer, "down"), states, layer).max() < 0.03
    assert row_errors(multiply(states, layer, "out"), states, layer).max() > 0.3  # one scale for all


@pytest.mark.parametrize("value", [0.0, -0.1])
def test_a_token_whose_states_are_all_zero_or_negative_gives_finite_numbers(multiply, layer, value):
    states = np.random.default_rng(2).standard_normal((1, 3, 96)).astype(np.float32)
    states[0, 1] = value
    got = multiply(states, layer, "down")
    assert np.abs(got[0, 1] - layer.bias_N - states[0, 1] @ layer.weight_KN).max() < 0.05
    assert row_errors(got[:, [0, 2]], states[:, [0, 2]], layer).max() < 0.03
