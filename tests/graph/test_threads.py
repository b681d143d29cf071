"""Batches side by side, one a thread: the same vectors, and errors that leave the engine as it was."""

from __future__ import annotations

import contextlib
import os

import numpy as np
import pytest

from reasonembed_rag.graph import OnnxEngine, cores, engine, session
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
    monkeypatch.setattr(
        session,
        "session_options",
        lambda *, threads, cores: opened.append(threads) or real(threads=threads, cores=cores),
    )
    made = engine_of(4)
    embed(made, many[:1])
    embed(made, [many[-1], many[-1][::-1]])
    assert opened == [4]
    embed(made, many)
    assert opened == [4, 1]


@pytest.mark.parametrize("threads", [2, 3])
def test_a_single_batch_with_padding_runs_whole_in_a_session_of_its_own(engine_of, embed, many, threads, monkeypatch):
    short = [max(many, key=len)[:stop] for stop in (9, 9, 8, 7, 7, 3, 1)]
    expected = embed(engine_of(1), short)
    made, shapes, real = engine_of(threads), [], session.run_session
    monkeypatch.setattr(
        session, "run_session", lambda opened, ids, lengths: shapes.append(ids.shape) or real(opened, ids, lengths)
    )
    assert np.abs(embed(made, short) - expected).max() < 1e-5
    assert shapes == [(7, 9)]
    assert np.abs(embed(made, short[:1]) - expected[:1]).max() < 1e-5
    assert made._sessions._opened.keys() == {(threads, True), (threads, False)}


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_states_of_one_text_are_right_where_some_tokens_are_not_attended_to(engine_of, many, threads):
    ids = max(many, key=len)[:9]
    (expected,) = engine_of(1).token_states([np.concatenate([ids[:5], ids[:4]])], [5])
    made = engine_of(threads)
    (changed,) = made.token_states([np.concatenate([ids[:5], ids[1:5]])], [5])
    assert np.abs(changed[:5] - expected[:5]).max() < 1e-5
    (whole,) = made.token_states([ids[:5]], [5])
    assert np.abs(changed[:5] - whole).max() < 1e-5
    (others,) = made.token_states([ids], [9])
    assert np.abs(others[:5] - whole).max() > 1e-3


def settings_of(threads, cores=()):
    """Return the named settings of a session's options that are set."""
    options, found = session.session_options(threads=threads, cores=cores), {}
    for name in ("intra_op.allow_spinning", "intra_op.spin_duration_us", "force_spinning_stop"):
        with contextlib.suppress(RuntimeError):  # not set
            found[name] = options.get_session_config_entry(f"session.{name}")
    with contextlib.suppress(RuntimeError):
        found["cores"] = options.get_session_config_entry("session.intra_op_thread_affinities")
    return found


@pytest.mark.parametrize("version", ["1.22.1", "1.9.0", "1.26rc1", "1.27.0.dev20260901"])
def test_no_thread_spins_where_it_cannot_be_limited(monkeypatch, version):
    monkeypatch.setattr(session.onnx_runtime(), "__version__", version)
    found = settings_of(4)
    assert found == {"intra_op.allow_spinning": "0"}


@pytest.mark.parametrize("version", ["1.26.0", "1.32.0", "1.32.0+cpu", "2.0"])
def test_threads_that_wait_within_a_call_spin_for_microseconds(monkeypatch, version):
    monkeypatch.setattr(session.onnx_runtime(), "__version__", version)
    found = settings_of(4)
    assert found.pop("intra_op.spin_duration_us") == "50"
    assert found.pop("force_spinning_stop") == found.pop("intra_op.allow_spinning") == "1"
    assert settings_of(1) == {"intra_op.allow_spinning": "0"}


def test_threads_have_cores_of_their_own_where_all_are_used(monkeypatch):
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda process: {7, 2, 5}, raising=False)
    drawn = {tuple(cores.core_for_each(3)) for _ in range(100)}
    assert drawn == {(2, 5, 7), (5, 7, 2), (7, 2, 5)}
    assert all(cores.core_for_each(threads) == [] for threads in (1, 2, 4))
    assert settings_of(3, cores=[5, 7])["cores"] == "6;8"  # counted from 1
    assert "cores" not in settings_of(3)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call here")
def test_a_caller_keeps_its_cores(engine_of, embed, many):
    before = os.sched_getaffinity(0)
    embed(engine_of(len(before)), many[:2])
    assert os.sched_getaffinity(0) == before


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
