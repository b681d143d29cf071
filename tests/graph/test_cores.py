"""A session's own threads lie on other cores than its caller, wherever that goes."""

from __future__ import annotations

import functools
import os
import threading

import numpy as np
import pytest

from reasonembed_rag.graph import OnnxEngine, cores, engine
from reasonembed_rag.graph.cores import WorkerCores, opened_with_cores

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call here")
NOWHERE = 2**22 + 1
"""A number that no thread can have."""


@pytest.fixture
def every_core():
    """Return the cores of this process; tests that move the caller put it back."""
    own = os.sched_getaffinity(0)
    yield sorted(own)
    os.sched_setaffinity(0, own)


@pytest.fixture
def sleepers():
    """Return a function that begins threads, one for each core given, that stay on it."""
    ending, begun = threading.Event(), []

    def begin(*places):
        def sleep(place, ready):
            os.sched_setaffinity(0, {place})
            ready.set()
            ending.wait(60)

        for place in places:
            ready = threading.Event()
            begun.append(threading.Thread(target=sleep, args=(place, ready), daemon=True))
            begun[-1].start()
            assert ready.wait(60)
        return [thread.native_id for thread in begun[-len(places) :]]

    yield begin
    ending.set()
    for thread in begun:
        thread.join(60)


def places(threads):
    return [os.sched_getaffinity(thread) for thread in threads]


def call_on(worker_cores, core):
    os.sched_setaffinity(0, {core})
    worker_cores.call(lambda: None)


def test_threads_of_a_session_leave_the_core_of_each_caller(tiny_model, weights_of, tmp_path, monkeypatch, every_core):
    if len(every_core) < 2:
        pytest.skip("one core only")
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path))
    monkeypatch.setattr(engine, "thread_count", lambda: len(every_core))
    before = {int(task.name) for task in cores._TASKS.iterdir()}
    made = OnnxEngine(weights_of(tiny_model("bert")), dtype="float32")
    session = made._sessions.of(threads=len(every_core))
    ids = np.asarray([[1, 2, 3]], np.int32)
    for core in [*every_core, *reversed(every_core)]:
        os.sched_setaffinity(0, {core})
        session(ids, np.asarray([3], np.int32))
        now = {int(task.name) for task in cores._TASKS.iterdir()} - before
        single = [next(iter(own)) for own in places(now) if len(own) == 1]
        assert sorted(single) == [other for other in every_core if other != core]


def test_the_thread_on_the_callers_core_takes_the_one_that_was_free(every_core, sleepers):
    if len(every_core) < 2:
        pytest.skip("one core only")
    here, *others = every_core
    threads = sleepers(*others)
    moved = WorkerCores(frozenset(every_core), begun=frozenset([*threads, NOWHERE]))
    call_on(moved, here)
    assert places(threads) == [{core} for core in others]
    call_on(moved, others[0])
    assert places(threads) == [{here}, *({core} for core in others[1:])]


def test_nothing_is_moved_where_other_threads_with_one_core_began_too(every_core, sleepers):
    if len(every_core) < 2:
        pytest.skip("one core only")
    threads = sleepers(*every_core[1:], every_core[1])
    unsure = WorkerCores(frozenset(every_core), begun=frozenset(threads))
    for core in every_core:
        call_on(unsure, core)
        assert places(threads) == [{one} for one in (*every_core[1:], every_core[1])]


def test_nothing_is_moved_while_calls_overlap(every_core, sleepers):
    if len(every_core) < 2:
        pytest.skip("one core only")
    threads = sleepers(*every_core[1:])
    worker_cores = WorkerCores(frozenset(every_core), begun=frozenset(threads))
    os.sched_setaffinity(0, {every_core[0]})

    def meanwhile():
        other = threading.Thread(target=functools.partial(call_on, worker_cores, every_core[1]))
        other.start()
        other.join(60)

    worker_cores.call(meanwhile)
    assert places(threads) == [{core} for core in every_core[1:]]
    call_on(worker_cores, every_core[1])
    assert {every_core[1]} not in places(threads)


def test_a_refused_move_is_not_tried_again(every_core, sleepers, monkeypatch):
    if len(every_core) < 2:
        pytest.skip("one core only")
    threads = sleepers(*every_core[1:])
    worker_cores = WorkerCores(frozenset(every_core), begun=frozenset(threads))
    asked = []

    def refuse(thread, places):
        asked.append(thread)
        raise PermissionError

    monkeypatch.setattr(cores, "_core", lambda: every_core[1])
    monkeypatch.setattr(cores.os, "sched_setaffinity", refuse)
    for _ in range(3):
        worker_cores.call(lambda: None)
    monkeypatch.undo()
    assert asked == threads[:1]


@pytest.mark.parametrize("missing", ["reader", "tasks"])
def test_a_system_that_does_not_tell_leaves_threads_where_they_are(missing, monkeypatch, tmp_path, every_core):
    if missing == "reader":
        monkeypatch.setattr(cores, "_core_reader", lambda: None)
    else:
        monkeypatch.setattr(cores, "_TASKS", tmp_path / "none")
    opened, worker_cores = opened_with_cores(lambda: "session")
    assert worker_cores.call(opened.upper) == "SESSION"


def test_an_error_in_a_call_leaves_the_next_call_free(every_core):
    worker_cores = WorkerCores(frozenset(every_core), begun=frozenset())
    with pytest.raises(ValueError, match="bad"):
        worker_cores.call(int, "bad")
    assert worker_cores._calling.acquire(blocking=False)
