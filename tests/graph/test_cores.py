"""A session's own threads lie on other cores than its caller, wherever that goes."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reasonembed_rag.graph import OnnxEngine, cache, cores, engine
from reasonembed_rag.graph.cores import WorkerCores

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no such call here")


@pytest.fixture
def every_core():
    """Return the cores of this process, of which there are several."""
    own = sorted(os.sched_getaffinity(0))
    if len(own) < 2:
        pytest.skip("one core only")
    return own


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


def call_on(worker_cores, core, monkeypatch):
    """Call as if the caller ran on a core."""
    monkeypatch.setattr(cores, "_core", lambda: core)
    worker_cores.call(lambda: None)


@pytest.fixture
def engine_of(tiny_model, weights_of, tmp_path, monkeypatch, every_core):
    """Return a function that opens an engine with as many threads as there are cores, or others."""
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path))

    def make(threads=None):
        monkeypatch.setattr(engine, "thread_count", lambda: threads or len(every_core))
        return OnnxEngine(weights_of(tiny_model("bert")), dtype="float32")

    return make


def pinned(threads):
    return sorted(next(iter(own)) for own in places(threads) if len(own) == 1)


IDS = np.asarray([[1, 2, 3]], np.int32), np.asarray([3], np.int32)


def found(session):
    """Return the cores of a session's threads, once they have taken those they were given."""
    graph, worker_cores = session._opened
    deadline = time.monotonic() + 60
    while len(pinned(graph.threads)) < len(graph.threads):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return worker_cores


def test_threads_of_a_session_leave_the_core_of_each_caller(engine_of, every_core, monkeypatch):
    before = cores._threads()
    session = engine_of()._sessions.of(threads=len(every_core))
    found(session)._tries = 20
    for core in [*every_core, *reversed(every_core)]:
        monkeypatch.setattr(cores, "_core", lambda core=core: core)
        session(*IDS)
        assert pinned(cores._threads() - before) == [other for other in every_core if other != core]


def test_sessions_that_are_opened_at_once_all_find_their_own_threads(engine_of, every_core, monkeypatch):
    with ThreadPoolExecutor(4) as pool:
        engines = [pool.submit(engine_of) for _ in range(4)]
    sessions = [made.result()._sessions.of(threads=len(every_core)) for made in engines]
    for session in sessions:
        worker_cores = found(session)
        worker_cores._tries += len(every_core)  # the machine may have been too busy until now
        for core in every_core:
            monkeypatch.setattr(cores, "_core", lambda core=core: core)
            session(*IDS)
            others = [other for other in every_core if other != core]
            assert pinned(session._opened[0].threads) == sorted(worker_cores._threads) == others


def test_a_thread_that_is_not_a_sessions_stays_where_it_is(engine_of, every_core, sleepers, monkeypatch):
    real, foreign = cores.with_begun_threads, []

    def beside(open_session):
        def opened():
            foreign.extend(sleepers(*every_core[1:]))
            return open_session()

        return real(opened)

    monkeypatch.setattr(cache, "with_begun_threads", beside)
    for threads in (1, len(every_core), len(every_core) + 1):
        session = engine_of(threads)._sessions.of(threads=threads)
        for core in every_core:
            monkeypatch.setattr(cores, "_core", lambda core=core: core)
            session(*IDS)
    assert len(foreign) == 3 * len(every_core[1:])
    assert places(foreign) == [{core} for core in every_core[1:]] * 3


def test_the_thread_on_the_callers_core_takes_the_one_that_was_free(every_core, sleepers, monkeypatch):
    here, *others = every_core
    threads = sleepers(*others)
    moved = WorkerCores(every_core, begun=frozenset(threads))
    call_on(moved, here, monkeypatch)
    assert places(threads) == [{core} for core in others]
    call_on(moved, others[0], monkeypatch)
    assert places(threads) == [{here}, *({core} for core in others[1:])]


def test_nothing_is_moved_where_another_thread_began_too(every_core, sleepers, monkeypatch):
    begun = [*every_core[1:], every_core[1]]
    threads = sleepers(*begun)
    unsure = WorkerCores(every_core, begun=frozenset(threads))
    for core in every_core:
        call_on(unsure, core, monkeypatch)
        assert places(threads) == [{one} for one in begun]


def test_threads_are_looked_for_a_few_times_only(every_core, sleepers, monkeypatch):
    lost = WorkerCores(every_core[:2], begun=frozenset(sleepers(every_core[0])))
    asked, real = [], os.sched_getaffinity
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda thread: asked.append(thread) or real(thread))
    for _ in range(30):
        call_on(lost, every_core[0], monkeypatch)
    assert len(asked) == 20


def test_nothing_is_moved_to_a_core_that_the_caller_may_not_use(every_core, sleepers, monkeypatch):
    threads = sleepers(*every_core[1:])
    worker_cores = WorkerCores(every_core, begun=frozenset(threads))
    call_on(worker_cores, every_core[0], monkeypatch)

    def confined():
        os.sched_setaffinity(0, {every_core[1]})
        call_on(worker_cores, every_core[1], monkeypatch)

    caller = threading.Thread(target=confined)
    caller.start()
    caller.join(60)
    assert places(threads) == [{core} for core in every_core[1:]]


def test_nothing_is_moved_while_calls_overlap(every_core, sleepers, monkeypatch):
    threads = sleepers(*every_core[1:])
    worker_cores = WorkerCores(every_core, begun=frozenset(threads))
    monkeypatch.setattr(cores, "_core", lambda: every_core[0])

    def meanwhile():
        other = threading.Thread(target=call_on, args=(worker_cores, every_core[1], monkeypatch))
        other.start()
        other.join(60)

    worker_cores.call(meanwhile)
    assert places(threads) == [{core} for core in every_core[1:]]
    call_on(worker_cores, every_core[1], monkeypatch)
    assert {every_core[1]} not in places(threads)


def test_a_refused_move_is_not_tried_again(every_core, sleepers, monkeypatch):
    threads = sleepers(*every_core[1:])
    worker_cores = WorkerCores(every_core, begun=frozenset(threads))
    asked = []

    def refuse(thread, places):
        asked.append(thread)
        raise PermissionError

    monkeypatch.setattr(cores.os, "sched_setaffinity", refuse)
    for _ in range(3):
        call_on(worker_cores, every_core[1], monkeypatch)
    monkeypatch.undo()
    assert asked == threads[:1]


@pytest.mark.parametrize("missing", ["_core_reader", "_TASKS"])
def test_a_system_that_does_not_tell_leaves_threads_where_they_are(
    missing, engine_of, monkeypatch, tmp_path, every_core
):
    monkeypatch.setattr(cores, missing, tmp_path / "none" if missing == "_TASKS" else lambda: None)
    session = engine_of()._sessions.of(threads=len(every_core))
    assert np.isfinite(session(*IDS)).all()
    monkeypatch.setattr(cores, "_core", lambda: every_core[0])
    assert np.isfinite(session(*IDS)).all()


def test_an_error_in_a_call_leaves_the_next_call_free():
    worker_cores = WorkerCores([], begun=frozenset())
    with pytest.raises(ValueError, match="bad"):
        worker_cores.call(int, "bad")
    assert worker_cores._calling.acquire(blocking=False)
