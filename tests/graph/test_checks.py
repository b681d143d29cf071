"""What a graph must pass before it is used: int8 close to float32, float32 equal to transformers."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from reasonembed_rag.errors import ModelError
from reasonembed_rag.graph import OnnxEngine, cache, check, engine, products
from reasonembed_rag.graph.products import Products
from reasonembed_rag.graph.session import session_options
from reasonembed_rag.graph.writing import write_graph

KINDS = {"bert": {}, "xlm-roberta": {"pad_token_id": 1}, "modernbert": {"local_attention": 16}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("bits", [7, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_int8_is_close_to_float32_and_not_equal(tiny_model, weights_of, sequences, embed, monkeypatch, kind, bits):
    most = 2 ** (bits - 1) - 1
    monkeypatch.setattr(products, "largest_weight", lambda: most)
    weights = weights_of(tiny_model(kind, **KINDS[kind]))
    exact = embed(OnnxEngine(weights, dtype="float32"), sequences)
    short = embed(OnnxEngine(weights, dtype="int8"), sequences)
    assert 0.98 <= (exact * short).sum(axis=1).min() < 0.999999
    graph = write_graph(weights, Products(frozenset({"qkv", "out", "up", "down"})))
    largest = [abs(tensor.astype(int)).max() for tensor in graph.tensors.values() if tensor.dtype == np.int8]
    assert set(largest) == {most}


def with_outlier(weights, source, product):
    """Return weights with one huge state among the inputs of a product, which that product does not use."""
    tensors = {name: tensor.copy() for name, tensor in weights.tensors().items()}
    for number in range(weights.config["num_hidden_layers"]):
        tensors[f"encoder.layer.{number}.{source}.bias"][0] = 3000
        tensors[f"encoder.layer.{number}.{product}.weight"][:, 0] = 0
    return dataclasses.replace(weights, tensors=lambda: tensors, digest=source)


def test_any_number_of_threads_makes_the_same_integers(tiny_model, weights_of, monkeypatch):
    weights, made = weights_of(tiny_model("bert")), []
    for threads in (1, 2, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        options = functools.partial(session_options, threads=threads)
        made.append(check.int8_graph(weights, options=options).tensors)
    for name, tensor in made[0].items():
        assert all(np.array_equal(tensor, other[name]) for other in made[1:]), name


def test_a_graph_that_cannot_be_saved_is_written_once_in_a_process(
    tiny_model, weights_of, sequences, embed, monkeypatch, tmp_path
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    written, write = [], engine.int8_graph
    monkeypatch.setattr(engine, "int8_graph", lambda *given, **named: written.append(1) or write(*given, **named))
    opened = OnnxEngine(weights_of(tiny_model("bert")), dtype="int8")
    one = embed(opened, sequences[-1:])
    many = embed(opened, sequences * 40)
    assert written == [1]
    assert (one * many[len(sequences) - 1]).sum() > 0.99


def test_the_second_plan_keeps_what_the_first_has_rounded(tiny_model, weights_of, monkeypatch):
    made, rounded = [], products.rounded
    monkeypatch.setattr(products, "rounded", lambda *given, **named: made.append(1) or rounded(*given, **named))
    cosines = iter([0.5, 0.995])
    monkeypatch.setattr(check, "_least_cosine", lambda *_: next(cosines))
    weights = weights_of(tiny_model("bert"))
    graph = check.int8_graph(weights, options=functools.partial(session_options, threads=1))
    layers = weights.config["num_hidden_layers"]
    assert len(made) == 6 * layers
    assert (
        sum(tensor.dtype == np.int8 for tensor in graph.tensors.values()) == 3 * layers
    )  # those of queries, keys and values are one


@pytest.mark.parametrize("damage", [np.nan, np.inf])
def test_damaged_weights_are_called_so_in_int8_too(tiny_model, weights_of, damage):
    weights = weights_of(tiny_model("bert"))
    tensors = {name: tensor.copy() for name, tensor in weights.tensors().items()}
    tensors["encoder.layer.0.output.dense.weight"][0, 0] = damage
    with pytest.raises(ModelError, match=r"not finite.*damaged"):
        OnnxEngine(dataclasses.replace(weights, tensors=lambda: tensors, digest="damaged"), dtype="int8")


BEHIND_OUTLIERS = pytest.mark.parametrize(
    ("source", "product"),
    [("intermediate.dense", "output.dense"), ("attention.self.value", "attention.output.dense")],
)


@pytest.fixture
def unsmoothed(monkeypatch):
    """Leave outliers where they are."""
    monkeypatch.setattr(check, "typical_states", lambda *_, **__: {})


@BEHIND_OUTLIERS
def test_outliers_of_states_move_into_weights_and_all_products_stay_in_int8(
    tiny_model, weights_of, sequences, embed, own_cache, source, product
):
    weights = with_outlier(weights_of(tiny_model("bert")), source, product)
    exact = embed(OnnxEngine(weights, dtype="float32"), sequences)
    assert (exact * embed(OnnxEngine(weights, dtype="int8"), sequences)).sum(axis=1).min() >= 0.98
    (file,) = own_cache.rglob("*-int8/*/graph.bin")
    assert f"{product}.weight.int8".encode() in file.read_bytes()


@pytest.mark.usefixtures("unsmoothed")
@BEHIND_OUTLIERS
def test_a_product_that_int8_would_lose_stays_in_float32(
    tiny_model, weights_of, sequences, embed, own_cache, source, product
):
    weights = with_outlier(weights_of(tiny_model("bert")), source, product)
    exact = embed(OnnxEngine(weights, dtype="float32"), sequences)
    assert (exact * embed(OnnxEngine(weights, dtype="int8"), sequences)).sum(axis=1).min() >= 0.98
    (file,) = own_cache.rglob("*-int8/*/graph.bin")
    assert f"layer.0.{product}.weight.int8".encode() not in file.read_bytes()
    assert b"intermediate.dense.weight.int8" in file.read_bytes()


@pytest.mark.usefixtures("unsmoothed")
def test_a_model_that_no_plan_keeps_close_refuses_int8_and_the_error_names_float32(tiny_model, weights_of, monkeypatch):
    monkeypatch.setattr(check, "INT8_PLANS", products.INT8_PLANS[:2])
    weights = with_outlier(weights_of(tiny_model("bert")), "attention.self.value", "attention.output.dense")
    OnnxEngine(weights, dtype="float32")
    with pytest.raises(ModelError, match=r"float32"):
        OnnxEngine(weights, dtype="int8")


def test_a_graph_is_compared_with_the_reference_once(tiny_model, weights_of, sequences, embed):
    weights = weights_of(tiny_model("bert"))
    expected = embed(OnnxEngine(weights, dtype="float32"), sequences)
    asked = []

    def reference(asked_for):
        asked.append(len(asked_for))
        return expected

    for _ in range(2):
        OnnxEngine(dataclasses.replace(weights, reference=reference), dtype="float32")
    assert asked == [len(sequences)]


def test_what_another_writer_wrote_is_compared_again(tiny_model, weights_of, sequences, embed, monkeypatch):
    weights = weights_of(tiny_model("bert"))
    expected, asked = embed(OnnxEngine(weights, dtype="float32"), sequences), []
    known = dataclasses.replace(weights, reference=lambda asked_for: asked.append(1) or expected)
    for version in (1, 1, 2):
        for module in (cache, check):
            monkeypatch.setattr(module, "WRITER", version)
        OnnxEngine(known, dtype="float32")
    assert asked == [1, 1]


def test_vectors_unlike_those_of_transformers_are_refused(tiny_model, weights_of, sequences, embed):
    weights = weights_of(tiny_model("bert"))
    wrong = np.roll(embed(OnnxEngine(weights, dtype="float32"), sequences), 1, axis=0)
    with pytest.raises(ModelError, match=r"backend='torch'"):
        OnnxEngine(dataclasses.replace(weights, reference=lambda _: wrong), dtype="float32")
