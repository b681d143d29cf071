"""Batches side by side, one a thread: the same vectors, and errors that leave the engine as it was."""

from __future__ import annotations

import numpy as np
import pytest

from reasonembed_rag.graph import OnnxEngine, engine, session
from reasonembed_rag.graph.forward import batches
from reasonembed_rag.graph.writing import weights_per_token


@pytest.fixture
def engine_of(tiny_model, weights_of, tmp_path, monkeypatch):
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path))
    weights = weights_of(tiny_model("bert"))

    def make(threads, *, dtype="float32"):
        monkeypatch.setattr(engine, "thread_count", lambda: threads)
        return OnnxEngine(weights, dtype=dtype)

    return make


@pytest.fixture
def many(sequences):
    """Return sequences for a few dozen batches."""
    return [np.roll(one, shift) for shift in range(12) for one in sequences]


def test_vectors_do_not_depend_on_the_number_of_threads(engine_of, embed, many):
    expected = embed(engine_of(1), many)
    for threads in (2, 3, 64):
        assert np.abs(embed(engine_of(threads), many) - expected).max() < 1e-5


def test_token_states_do_not_depend_on_the_number_of_threads(engine_of, many):
    lengths = [len(one) for one in many]
    expected = engine_of(1).token_states(many, lengths)
    for states, wanted in zip(engine_of(3).token_states(many, lengths), expected, strict=True):
        assert states.shape == wanted.shape
        assert np.abs(states - wanted).max() < 1e-4


def test_a_single_batch_is_divided_among_all_threads_and_opens_no_second_session(engine_of, embed, many, monkeypatch):
    opened = []
    real = session.session_options
    monkeypatch.setattr(session, "session_options", lambda *, threads: opened.append(threads) or real(threads=threads))
    made = engine_of(4)
    embed(made, many[:2])
    assert opened == [4]
    embed(made, many)
    assert opened == [4, 1]


def test_few_products_in_int8_are_left_to_one_thread(engine_of, embed, many, monkeypatch):
    monkeypatch.setattr(engine, "weights_per_token", lambda config: 1_000)
    monkeypatch.setattr(engine, "_INT8_PRODUCTS_OF_ONE_THREAD", {127: 18_000, 63: 18_000})
    used = []
    short, exact = engine_of(4, dtype="int8"), engine_of(4)
    real = session.GraphSessions.of
    monkeypatch.setattr(
        session.GraphSessions, "of", lambda self, *, threads: used.append(threads) or real(self, threads=threads)
    )
    of_18, of_40 = many[4], many[5]
    for engine_, sequences in ((short, [of_18]), (short, [of_40]), (short, [of_18, of_18]), (exact, [of_18])):
        embed(engine_, sequences)
    assert used == [1, 4, 4, 4]


def test_how_many_weights_a_token_is_multiplied_by(tiny_model, weights_of):
    for kind in ("bert", "distilbert", "modernbert", "mpnet"):
        weights = weights_of(tiny_model(kind))
        layers = [one for name, one in weights.tensors().items() if ".layer" in name or name.startswith("layer")]
        assert weights_per_token(weights.config) == sum(one.size for one in layers if one.ndim == 2), kind


def test_an_error_in_one_batch_is_raised_and_the_engine_still_works(engine_of, embed, many, monkeypatch):
    made = engine_of(2)
    expected = embed(made, many)
    real, calls = session.run_session, []

    def failing(opened, ids_BS, lengths_B):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("no memory")
        return real(opened, ids_BS, lengths_B)

    monkeypatch.setattr(session, "run_session", failing)
    with pytest.raises(RuntimeError, match="no memory"):
        embed(made, many)
    assert len(calls) < len(batches(np.arange(len(many)), np.full(len(many), 60)))
    monkeypatch.setattr(session, "run_session", real)
    assert np.abs(embed(made, many) - expected).max() < 1e-5


def test_batches_hold_as_many_tokens_as_allowed_and_longer_rows_stand_alone():
    lengths = np.asarray([900, 300, 200, 128, 128, 90, 85, 10, 5])
    assert [rows.tolist() for rows in batches(np.arange(9), lengths)] == [[0], [1], [2], [3, 4], [5, 6], [7, 8]]
    assert [rows.tolist() for rows in batches(np.arange(6, 9), lengths, most=20)] == [[6], [7, 8]]


def test_a_row_of_another_length_joins_only_a_batch_of_few_tokens():
    lengths = np.asarray([101, 101, 100, 100, 30, 30, 29, 28, 27])
    assert [rows.tolist() for rows in batches(np.arange(9), lengths)] == [[0, 1], [2, 3], [4, 5, 6, 7], [8]]
