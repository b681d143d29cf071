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
def multiply():
    """Return what a graph makes of states (1, S, K): multiply(states, layer, part)."""

    def run(states, layer, part):
        return products_of(Products(frozenset({part})), states, [layer], part)[0]

    return run


def products_of(products, states, layers, part):
    """Return what a graph makes of states (1, S, K) by each of the layers."""
    results = []
    for place in range(len(layers)):
        builder = GraphBuilder()
        outputs = products.multiply(builder, builder.constant("given", states), layers, part)
        graph = builder.finish(outputs[place], width=layers[place].weight_KN.shape[1])
        opened = open_memory(graph, functools.partial(session_options, threads=1))
        inputs = {"ids": np.zeros((1, 1), np.int32), "lengths": np.ones(1, np.int32)}
        results.append(opened.session.run(None, inputs)[0])
    return results


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


def error(got, exact):
    """Return the size of the error of a whole product, by its size."""
    return np.linalg.norm(got - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("biased", [False, True])
def test_several_layers_of_the_same_states_give_what_each_gives_alone(layer, biased):
    generator = np.random.default_rng(3)
    other = LinearLayer("other", generator.standard_normal((96, 16)).astype(np.float32), np.full(16, 2, np.float32))
    layers = [one if biased else one._replace(bias_N=None) for one in (layer, other)]
    states = generator.standard_normal((1, 40, 96)).astype(np.float32)
    made = Products(frozenset({"qkv"}))
    together = products_of(made, states, layers, "qkv")
    for one, got in zip(layers, together, strict=True):
        assert np.array_equal(got, products_of(made, states, [one], "qkv")[0])
        assert error(got, states @ one.weight_KN + (one.bias_N if biased else 0)) < 0.02


@pytest.mark.parametrize("parts", [{"out"}, {"out", "qkv"}], ids=["values in float32", "values in int8"])
def test_columns_of_values_are_divided_for_the_layer_behind_attention(layer, parts):
    generator = np.random.default_rng(4)
    value = LinearLayer("value", generator.standard_normal((96, 96)).astype(np.float32), np.ones(96, np.float32))
    value.weight_KN[:, 5] *= 300
    layer.weight_KN[5] /= 300
    states = generator.standard_normal((1, 40, 96)).astype(np.float32)
    values = states @ value.weight_KN + value.bias_N
    known = {layer.name: values[0].astype(np.float16)}
    made = Products(frozenset(parts), known)
    divisors_N = made.divisors(layer)
    (divided,) = products_of(made, states, [value._replace(divisors_N=divisors_N)], "qkv")
    assert np.abs(divided * divisors_N - values).max(axis=(0, 1))[:5].max() < 1
    (got,) = products_of(made, divided, [layer], "out")
    exact = values @ layer.weight_KN + layer.bias_N
    assert error(got, exact) < 0.03
    assert error(products_of(Products(frozenset(parts)), values, [layer], "out")[0], exact) > 0.3
    assert Products(frozenset(parts)).divisors(layer) is None
    assert Products(frozenset({"up"}), known).divisors(layer) is None
