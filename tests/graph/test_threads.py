"""Batches side by side, one a thread: the same vectors, and errors that leave the engine as it was."""

from __future__ import annotations

import numpy as np
import pytest

from reasonembed_rag.graph import OnnxEngine, engine, session
from reasonembed_rag.graph.forward import batches


@pytest.fixture
def engine_of(tiny_model, weights_of, tmp_path, monkeypatch):
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path))
    weights = weights_of(tiny_model("bert"))

    def make(threads):
        monkeypatch.setattr(engine, "thread_count", lambda: threads)
        return OnnxEngine(weights, dtype="float32")

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


@pytest.mark.parametrize(("version", "patience"), [("1.22.1", None), ("1.32.0", "10")])
def test_threads_that_wait_keep_their_cores_for_microseconds_at_most(monkeypatch, version, patience):
    monkeypatch.setattr(session.onnx_runtime(), "__version__", version)
    for threads, expected in ((1, None), (4, patience)):
        entry = session.session_options(threads=threads).get_session_config_entry
        assert entry("session.intra_op.allow_spinning") == ("1" if expected else "0")
        if expected:
            assert entry("session.intra_op.spin_duration_us") == expected
            assert entry("session.force_spinning_stop") == "1"


@pytest.fixture
def moves(monkeypatch):
    """Let a process with cores 2, 5 and 7 have a number whose turn is the second; return where its thread is put."""
    put = []
    monkeypatch.setattr(session.os, "sched_getaffinity", lambda process: {7, 2, 5}, raising=False)
    monkeypatch.setattr(session.os, "sched_setaffinity", lambda process, cores: put.append(set(cores)), raising=False)
    monkeypatch.setattr(session.os, "getpid", lambda: 3001)
    return put


@pytest.mark.usefixtures("moves")
def test_threads_have_cores_of_their_own_where_all_are_used():
    places = "session.intra_op_thread_affinities"
    assert session.session_options(threads=3).get_session_config_entry(places) == "8;3"
    for threads in (1, 2):
        with pytest.raises(RuntimeError):
            session.session_options(threads=threads).get_session_config_entry(places)


def test_a_caller_is_moved_off_the_cores_of_the_others_and_let_go(engine_of, embed, many, moves, monkeypatch):
    options = session.onnx_runtime().SessionOptions()
    monkeypatch.setattr(session, "session_options", lambda *, threads: options)
    for threads, expected in ((3, [{5}, {2, 5, 7}]), (2, [])):
        made = engine_of(threads)
        moves.clear()
        embed(made, many[:2])
        assert moves == expected


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
