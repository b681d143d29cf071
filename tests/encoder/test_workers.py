"""Workers against the engine of one process, and every way in which they can die."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from reasonembed_rag.backbone import Tokens
from reasonembed_rag.encoder.batching import plan_packs
from reasonembed_rag.encoder.workers import WorkerEngine
from reasonembed_rag.errors import BackendError, InputError, ModelError
from reasonembed_rag.spec import EmbeddingSpec

WAIT_S = 240  # even on a busy machine only a hang takes longer
SOON_S = 30

_FAKE = '''
"""An engine without a model: a text's vector is the sum and the number of its ids; the adapter is a command."""
import dataclasses, os, sys, threading, time
from collections import namedtuple
import numpy as np
from reasonembed_rag.encoder.engines import LoadedEngine, ModelDescription
from reasonembed_rag.errors import InputError, ModelError

Part = namedtuple("Part", "rows vectors")


class Fake:
    def __init__(self, folder, device):
        self.folder, self.device = folder, device

    def run(self, tokens, packs, *, adapter):
        act, _, target = (adapter or "").partition("@")
        if act and target in ("", self.device):
            self.act(act)
        rows = packs[0]
        for half in (rows[len(rows) // 2:], rows[: len(rows) // 2]):
            vectors = [[ids.sum(), len(ids), float(self.device == "cpu:b")] for ids in tokens.rows(half)]
            yield Part(half, np.asarray(vectors, dtype=np.float32).reshape(-1, 3))

    def act(self, act):
        if act == "block":
            with open(os.path.join(self.folder, "blocked"), "wb", buffering=0) as pipe:
                pipe.write(self.device.encode() + b"\\n")
            threading.Event().wait()
        if act == "hold":
            while not os.path.exists(os.path.join(self.folder, "release")):
                time.sleep(0.01)
        if act == "fail":
            raise ZeroDivisionError("in the middle")
        if act == "refuse":
            raise InputError("no such adapter")
        if act == "leave":
            sys.exit(3)


def build(request, device, sharing):
    folder, spec = request
    if device.endswith("absent"):
        raise ModelError(f"{device}: no such model")
    if device.endswith("killed"):
        os.kill(os.getpid(), 9)
    if device.endswith("other"):
        spec = dataclasses.replace(spec, dtype="bfloat16")
    return LoadedEngine(Fake(folder, device), ModelDescription(spec, tokenizer=None))
'''

SPEC = EmbeddingSpec(
    model="fake", pooling="mean", attention="causal", max_query_length=9, max_document_length=9, dimension=3
)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Open engines of fake workers, closed after the test."""
    (tmp_path / "fake_engine.py").write_text(_FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    os.mkfifo(tmp_path / "blocked")
    from fake_engine import build

    engines = []

    def start(*devices):
        engine = WorkerEngine((str(tmp_path), SPEC), devices=devices or ("cpu:a", "cpu:b"), build=build)
        engines.append(engine)
        return engine

    yield start
    del sys.modules["fake_engine"]
    for engine in engines:
        engine.close()


def tokens_of(lengths, *, seed=0):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(
        np.random.default_rng(seed).integers(0, 99, offsets[-1], dtype=np.int32), offsets, truncated=0, skip=1
    )


def expected(tokens):
    return np.asarray([[ids.sum(), len(ids)] for ids in tokens.rows(np.arange(len(tokens.lengths)))], dtype=np.float32)


def gather(engine, tokens, packs, *, adapter=None):
    """Run a call within the deadline; return (n, D) with NaN for rows that are missing or came twice."""

    def run():
        vectors, times = None, np.zeros(len(tokens.lengths), dtype=int)
        for part in engine.run(tokens, packs, adapter=adapter):
            if vectors is None:
                vectors = np.full((len(tokens.lengths), part.vectors.shape[1]), np.nan, dtype=np.float32)
            vectors[part.rows] = part.vectors
            times[part.rows] += 1
        assert (times == 1).all()
        return vectors

    return within(run)


def within(function, *, seconds=WAIT_S):
    """Call a function in a thread; a hang becomes TimeoutError."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function).result(seconds)
    finally:
        pool.shutdown(wait=False)


def singles(tokens):
    return [np.asarray([row]) for row in range(len(tokens.lengths))]


def has_ended(pid):
    """Wait until a process is gone, whoever its parent is."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], WAIT_S)[0])
    finally:
        os.close(handle)


@pytest.fixture(scope="module")
def real(tiny_model):
    """A tiny model in two workers and in this process."""
    from reasonembed_rag.backbone import EncoderSettings, load_model
    from reasonembed_rag.encoder.local import LocalEngine

    request = EncoderSettings(model=str(tiny_model("qwen3")), device="cpu")
    loaded = load_model(request)
    with WorkerEngine(request, devices=["cpu", "cpu"]) as engine:
        yield engine, LocalEngine(loaded), loaded


def test_workers_give_the_vectors_of_one_process_in_every_call(real):
    workers, local, loaded = real
    texts = [f"text {row} " + "lazy dog " * (row % 17) for row in range(120)]
    for before, budget in (("", 64), ("Instruct: Find what helps\nQuery: ", 200)):
        tokens = loaded.tokenizer(texts, before=before, after="", max_length=64)
        packs = plan_packs(tokens.lengths, budget=budget)
        assert len(packs) > 8
        wanted = np.empty((len(texts), loaded.spec.dimension), dtype=np.float32)
        for part in local.run(tokens, packs, adapter=None):
            wanted[part.rows] = part.vectors
        # each process picks its fastest kernels: equal up to rounding; bit for bit only with the fakes below
        assert np.abs(gather(workers, tokens, packs) - wanted).max() < 2e-6


def test_the_parent_gets_the_models_description_without_loading_it(real):
    workers, _, loaded = real
    described = within(workers.start)
    assert described.spec == loaded.spec
    texts = ["why?", "über straße"]
    ids = [
        tokenizer(texts, before="q: ", after="", max_length=9).ids
        for tokenizer in (described.tokenizer, loaded.tokenizer)
    ]
    assert np.array_equal(*ids)


def test_a_bad_pack_is_an_error_with_its_traceback_and_the_next_call_works(real):
    workers, _, _ = real
    tokens = tokens_of([4, 4, 4])
    beyond = Tokens(tokens.ids + 10_000, tokens.offsets, truncated=0)
    with pytest.raises(BackendError, match=r"(?s)\bcpu\b.*IndexError.*Traceback"):
        gather(workers, beyond, singles(beyond))
    assert np.isfinite(gather(workers, tokens, singles(tokens))).all()


def test_workers_divide_the_cores(tiny_model, monkeypatch):
    import torch

    from reasonembed_rag.backbone import EncoderSettings
    from reasonembed_rag.encoder.worker_process import build_local

    chosen = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    for sharing in (1, 3, 16):
        build_local(EncoderSettings(model=str(tiny_model("bert")), backend="torch"), "cpu", sharing)
    assert chosen == [8, 2, 1]


@pytest.mark.parametrize("devices", [("cpu:a",), ("cpu:a", "cpu:b", "cpu:b")])
def test_every_row_comes_once_from_any_number_of_workers(fake, devices):
    engine = fake(*devices)
    rng = np.random.default_rng(1)
    for seed in range(3):
        tokens = tokens_of(rng.integers(1, 20, size=100), seed=seed)
        packs = np.array_split(rng.permutation(100), 37 - seed * 18)
        assert np.array_equal(gather(engine, tokens, packs)[:, :2], expected(tokens))
    assert gather(engine, tokens_of([]), []) is None
    assert gather(engine, tokens_of([]), [np.empty(0, dtype=np.int64)]) is None


def test_a_slow_device_delays_only_its_own_packs(fake, tmp_path):
    engine, tokens = fake(), tokens_of([3] * 40)
    parts = engine.run(tokens, singles(tokens), adapter="hold@cpu:a")
    early = within(lambda: [next(parts) for _ in range(38)])
    assert all(part.vectors[0, 2] == 1 for part in early)  # all from the other device
    (tmp_path / "release").touch()
    assert [part.vectors[0, 2] for part in within(lambda: list(parts))] == [0, 0]


def test_packs_and_vectors_larger_than_a_pipe_do_not_deadlock(fake):
    tokens = tokens_of([2] * 100_000 + [1_000_000] * 4)
    packs = [*np.array_split(np.arange(100_000), 4), *([row] for row in range(100_000, 100_004))]
    got = gather(fake(), tokens, [np.asarray(pack) for pack in packs])
    assert np.array_equal(got[:, :2], expected(tokens))


def test_an_error_ends_the_call_and_the_next_is_clean(fake):
    engine, tokens = fake(), tokens_of([5] * 30)
    for _ in range(3):
        with pytest.raises(BackendError, match=r"(?s)\bcpu:b\b.*ZeroDivisionError: in the middle\n.*Traceback"):
            gather(engine, tokens, singles(tokens), adapter="fail@cpu:b")
        other = tokens_of([4] * 50, seed=2)
        assert np.array_equal(gather(engine, other, singles(other))[:, :2], expected(other))


def test_an_error_of_ours_keeps_its_class(fake):
    with pytest.raises(InputError, match=r"no such adapter.*\bcpu:a\b"):
        gather(fake("cpu:a"), tokens_of([1]), singles(tokens_of([1])), adapter="refuse")


def blocked(engine, tokens, folder):
    """Start a call whose workers block; return its future and their devices once both block."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(list, engine.run(tokens, singles(tokens), adapter="block"))
    pool.shutdown(wait=False)
    with os.fdopen(os.open(folder / "blocked", os.O_RDWR), "rb") as pipe:  # a read-only end would see EOF too early
        devices = within(lambda: {pipe.readline() for _ in range(len(engine._devices))})
    return future, devices


def test_a_worker_killed_in_the_middle_is_an_error_within_seconds_and_closes_the_engine(fake, tmp_path):
    engine, tokens = fake(), tokens_of([5] * 30)
    within(engine.start)
    pids = {worker.device: worker.process.pid for worker in engine._workers}
    future, devices = blocked(engine, tokens, tmp_path)
    assert devices == {b"cpu:a\n", b"cpu:b\n"}
    os.kill(pids["cpu:b"], signal.SIGKILL)
    with pytest.raises(BackendError, match=rf"\bcpu:b\b.*\b{pids['cpu:b']}\b.*\bSIGKILL\b"):
        future.result(SOON_S)
    assert all(has_ended(pid) for pid in pids.values())
    with pytest.raises(BackendError, match=r"\bcpu:b\b.*\bSIGKILL\b"):
        gather(engine, tokens, singles(tokens))


def test_a_worker_killed_between_calls_is_an_error_in_the_next(fake):
    engine, tokens = fake(), tokens_of([5] * 30)
    gather(engine, tokens, singles(tokens))
    os.kill(engine._workers[0].process.pid, signal.SIGKILL)
    with pytest.raises(BackendError, match=r"\bcpu:a\b.*\bSIGKILL\b"):
        gather(engine, tokens, singles(tokens))


def test_a_worker_that_exits_is_an_error(fake):
    with pytest.raises(BackendError, match=r"\bcpu:a\b.*\b3\b"):
        gather(fake("cpu:a"), tokens_of([1]), singles(tokens_of([1])), adapter="leave")


def test_workers_leave_ctrl_c_to_the_parent(fake):
    engine, tokens = fake(), tokens_of([5] * 30)
    within(engine.start)
    for worker in engine._workers:
        os.kill(worker.process.pid, signal.SIGINT)
    assert np.array_equal(gather(engine, tokens, singles(tokens))[:, :2], expected(tokens))


@pytest.mark.parametrize(
    ("devices", "error", "message"),
    [
        (("cpu", "cpu:absent"), ModelError, r"cpu:absent: no such model.*\bcpu:absent\b"),
        (("cpu", "cpu:killed"), BackendError, r"\bcpu:killed\b.*\bSIGKILL\b"),
        (("cpu", "cpu:other"), InputError, r"\bcpu\b.*\bcpu:other\b.*\bdtype\b"),
    ],
)
def test_a_failure_while_loading_is_an_error_and_stops_all_workers(fake, devices, error, message):
    engine = fake(*devices)
    before = set(multiprocessing.active_children())
    with pytest.raises(error, match=message):
        within(engine.start)
    assert set(multiprocessing.active_children()) == before
    with pytest.raises(BackendError, match=rf"\b{devices[1]}\b"):
        within(engine.start)


def test_an_abandoned_call_leaves_nothing_for_the_next(fake):
    engine = fake()
    for seed in range(5):
        tokens = tokens_of([3] * 40, seed=seed)
        parts = engine.run(tokens, singles(tokens), adapter=None)
        within(lambda p=parts: [next(p) for _ in range(3)])
        parts.close()
    tokens = tokens_of([7] * 40, seed=9)
    assert np.array_equal(gather(engine, tokens, singles(tokens))[:, :2], expected(tokens))


def test_a_later_call_ends_an_earlier_one(fake):
    engine, tokens = fake(), tokens_of([3] * 40)
    early = engine.run(tokens, singles(tokens), adapter=None)
    within(lambda: next(early))
    late = tokens_of([4] * 40, seed=1)
    assert np.array_equal(gather(engine, late, singles(late))[:, :2], expected(late))
    with pytest.raises(BackendError, match=r"\bcall\b"):
        within(lambda: list(early))
    assert np.array_equal(gather(engine, late, singles(late))[:, :2], expected(late))


@pytest.mark.parametrize("how", ["close", "forget"])
def test_workers_end_with_their_engine(fake, how):
    engine = fake()
    within(engine.start)
    pids = [worker.process.pid for worker in engine._workers]
    if how == "close":
        engine.close()
        engine.close()
        with pytest.raises(BackendError, match="closed"):
            gather(engine, tokens_of([1]), singles(tokens_of([1])))
    else:
        engine._workers.clear()  # as when the engine is collected
    assert all(has_ended(pid) for pid in pids)


_PARENT = """
import os, sys
if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    from fake_engine import build
    from reasonembed_rag.encoder.workers import WorkerEngine
    engine = WorkerEngine((sys.argv[1], "spec"), devices=["cpu:a", "cpu:b"], build=build)
    engine.start()
    if sys.argv[2] == "forks" and os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
    print(*(worker.process.pid for worker in engine._workers), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["plain", "forks"])
def test_no_worker_outlives_a_parent_that_is_killed(fake, tmp_path, how):
    (tmp_path / "parent.py").write_text(_PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
        assert all(has_ended(pid) for pid in pids)  # before the pipe to a forked child is closed
