"""The coalescer against serial calls."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from waits import until

from reasonembed_rag.encoder.coalescer import Coalescer
from reasonembed_rag.errors import BackendError, InputError

WAIT_S = 20


class Recorder:
    """Vectors that depend on text and key, a record of the calls, and a gate that can delay the first call."""

    def __init__(self, *, held=False):
        self.calls = []
        self.threads = set()
        self.entered, self.gate = threading.Event(), threading.Event()
        if not held:
            self.gate.set()

    def __call__(self, texts, key):
        self.calls.append((list(texts), key))
        self.threads.add(threading.current_thread())
        self.entered.set()
        assert self.gate.wait(WAIT_S)
        if "bad" in texts:
            raise InputError("a bad text")
        if "down" in texts:
            raise BackendError("the server is down")
        return vectors_of(texts, key)

    async def held(self):
        await asyncio.to_thread(self.entered.wait, WAIT_S)

    async def answers(self, coalescer, asked):
        """Return the vectors, or errors, of (texts, key) that all wait before the second call."""
        first = asyncio.create_task(coalescer.encode(["first"], "first"))
        await self.held()
        tasks = [asyncio.create_task(coalescer.encode(texts, key)) for texts, key in asked]
        await asyncio.sleep(0)
        self.gate.set()
        await first
        return await asyncio.gather(*tasks, return_exceptions=True)


def vectors_of(texts, key):
    return np.asarray([[len(text), hash((text, key)) % 1009] for text in texts], dtype=np.float32).reshape(-1, 2)


def coalescer_threads():
    return [thread for thread in threading.enumerate() if thread.name == "reasonembed-coalescer"]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def held():
    return Recorder(held=True)


async def test_many_single_requests_make_few_calls_and_equal_the_serial_ones(held):
    with Coalescer(held, window_s=0.0, max_texts=128) as coalescer:
        with blockbuster_ctx():
            got = await held.answers(coalescer, [([f"text {row}"], "query") for row in range(400)])
        assert np.array_equal(np.concatenate(got), vectors_of([f"text {row}" for row in range(400)], "query"))
    assert [len(texts) for texts, _ in held.calls] == [1, 128, 128, 128, 16]
    assert len(held.threads) == 1


def test_a_request_waits_for_others_within_the_window_until_the_batch_is_full(recorder):
    with Coalescer(recorder, window_s=WAIT_S * 2, max_texts=2) as coalescer:
        first = coalescer.submit(["a"], "k")
        until(coalescer._inbox.empty)  # the thread has taken it and waits for others
        second = coalescer.submit(["b"], "k")
        first.result(WAIT_S)
        second.result(WAIT_S)
    assert recorder.calls == [(["a", "b"], "k")]


async def test_requests_of_different_keys_share_no_call(held):
    keys = ["query", "document", ("query", "adapter")]
    with Coalescer(held, window_s=0.0) as coalescer:
        got = await held.answers(coalescer, [([str(row)], keys[row % 3]) for row in range(60)])
    for row, vectors in enumerate(got):
        assert np.array_equal(vectors, vectors_of([str(row)], keys[row % 3]))
    assert [len(texts) for texts, _ in held.calls] == [1, 20, 20, 20]


@settings(max_examples=30, deadline=None)
@given(
    requests=st.lists(st.tuples(st.lists(st.text("ab", max_size=2), max_size=5), st.sampled_from("kl")), max_size=8),
    max_texts=st.integers(1, 7),
)
def test_concurrent_requests_equal_the_serial_ones(requests, max_texts):
    with Coalescer(Recorder(), window_s=0.0, max_texts=max_texts) as coalescer:
        futures = [coalescer.submit(texts, key) for texts, key in requests]
        for (texts, key), future in zip(requests, futures, strict=True):
            assert np.array_equal(future.result(WAIT_S), vectors_of(texts, key))


async def test_a_bad_text_fails_its_own_caller_alone(held):
    texts = [f"text {row}" for row in range(40)]
    texts[17] = texts[31] = "bad"
    with Coalescer(held, window_s=0.0) as coalescer:
        got = await held.answers(coalescer, [([text], "k") for text in texts])
    for text, vectors in zip(texts, got, strict=True):
        if text == "bad":
            assert isinstance(vectors, InputError)
        else:
            assert np.array_equal(vectors, vectors_of([text], "k"))
    assert len(held.calls[1][0]) == 40
    assert len(held.calls) < 25  # halving, not one by one


async def test_an_outage_fails_the_whole_batch_without_another_try(held):
    with Coalescer(held, window_s=0.0, outages=(BackendError,)) as coalescer:
        got = await held.answers(coalescer, [([text], "k") for text in ("a", "down", "c")])
    assert [type(error) for error in got] == [BackendError] * 3
    assert [texts for texts, _ in held.calls] == [["first"], ["a", "down", "c"]]


async def test_a_cancelled_caller_does_not_affect_others():
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0) as coalescer:
        first = asyncio.create_task(coalescer.encode(["first"], "k"))
        await recorder.held()
        others = [asyncio.create_task(coalescer.encode([str(row)], "k")) for row in range(5)]
        await asyncio.sleep(0)
        others[2].cancel()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await others[2]
        with pytest.raises(asyncio.CancelledError):
            await first
        recorder.gate.set()
        left = [row for row in range(5) if row != 2]
        got = await asyncio.gather(*(others[row] for row in left))
    assert [vectors.tolist() for vectors in got] == [vectors_of([str(row)], "k").tolist() for row in left]
    assert recorder.calls[1][0] == ["0", "1", "3", "4"]  # the cancelled text was not even computed


async def test_a_cancelled_long_request_stops_after_its_slice():
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0, max_texts=2) as coalescer:
        long = asyncio.create_task(coalescer.encode([str(row) for row in range(100)], "k"))
        await recorder.held()
        long.cancel()
        with pytest.raises(asyncio.CancelledError):
            await long
        recorder.gate.set()
        await coalescer.encode(["next"], "k")
    assert [texts for texts, _ in recorder.calls] == [["0", "1"], ["next"]]


async def test_a_short_request_does_not_wait_for_a_long_one():
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0, max_texts=4) as coalescer:
        long = asyncio.create_task(coalescer.encode([str(row) for row in range(40)], "documents"))
        await recorder.held()
        short = coalescer.submit(["q"], "queries")
        recorder.gate.set()
        assert np.array_equal(await long, vectors_of([str(row) for row in range(40)], "documents"))
        assert np.array_equal(short.result(WAIT_S), vectors_of(["q"], "queries"))
    assert recorder.calls.index((["q"], "queries")) <= 2


def test_event_loops_and_threads_share_a_coalescer(recorder):
    got = {}

    async def ask(coalescer, name):
        got[name] = await asyncio.gather(*(coalescer.encode([f"{name} {row}"], "k") for row in range(20)))

    with Coalescer(recorder) as coalescer:
        threads = [threading.Thread(target=lambda n=name: asyncio.run(ask(coalescer, n))) for name in "abc"]
        threads += [threading.Thread(target=lambda: got.update(d=[coalescer.submit(["d 0"], "k").result(WAIT_S)]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    for name, parts in got.items():
        assert np.array_equal(np.concatenate(parts), vectors_of([f"{name} {row}" for row in range(len(parts))], "k"))
    assert {name: len(parts) for name, parts in got.items()} == {"a": 20, "b": 20, "c": 20, "d": 1}
    assert len(recorder.threads) == 1


def test_an_event_loop_that_ends_while_waiting_does_not_affect_others():
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0) as coalescer:

        async def give_up():
            task = asyncio.create_task(coalescer.encode(["lost"], "k"))
            await recorder.held()
            task.cancel()

        asyncio.run(give_up())
        recorder.gate.set()
        assert np.array_equal(coalescer.submit(["kept"], "k").result(WAIT_S), vectors_of(["kept"], "k"))


def test_no_thread_runs_before_the_first_request_nor_after_the_last(recorder):
    before = coalescer_threads()
    coalescer = Coalescer(recorder)
    assert coalescer_threads() == before
    coalescer.submit(["a"], "k").result(WAIT_S)
    assert len(coalescer_threads()) == len(before) + 1
    coalescer.close()
    coalescer.close()
    assert coalescer_threads() == before
    with pytest.raises(BackendError, match="closed"):
        coalescer.submit(["b"], "k")


def test_closing_waits_for_earlier_requests():
    recorder = Recorder(held=True)
    coalescer = Coalescer(recorder, window_s=0.0, max_texts=1)
    futures = [coalescer.submit([str(row)], "k") for row in range(5)]
    closer = threading.Thread(target=coalescer.close)
    closer.start()
    recorder.gate.set()
    closer.join(WAIT_S)
    assert [future.done() for future in futures] == [True] * 5
    assert np.array_equal(futures[4].result(), vectors_of(["4"], "k"))


def test_an_unreferenced_coalescer_is_collected_with_its_model_and_its_thread_ends():
    recorder = Recorder()
    coalescer = Coalescer(recorder)
    coalescer.submit(["a"], "k").result(WAIT_S)
    (thread,), model = recorder.threads, weakref.ref(recorder)
    del coalescer, recorder
    gc.collect()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert model() is None


async def test_results_of_one_batch_share_no_memory(held):
    with Coalescer(held, window_s=0.0) as coalescer:
        one, two = await held.answers(coalescer, [(["a"], "k"), (["b"], "k")])
        assert len(held.calls) == 2
        one[:] = 0
        assert np.array_equal(two, vectors_of(["b"], "k"))
        assert one.base is None or one.base.size == one.size


def test_a_run_that_loses_a_row_is_an_error():
    with (
        Coalescer(lambda texts, key: vectors_of(texts, key)[:-1]) as coalescer,
        pytest.raises(BackendError, match=r"\b2\b.*\b1\b"),
    ):
        coalescer.submit(["a", "b"], "k").result(WAIT_S)


def test_settings_and_keys_that_cannot_work_are_refused_at_once(recorder):
    with pytest.raises(InputError, match=r"max_texts\b.*\b0\b"):
        Coalescer(recorder, max_texts=0)
    with Coalescer(recorder) as coalescer, pytest.raises(TypeError, match="unhashable"):
        coalescer.submit(["a"], ["list"])


def test_a_resolved_future_keeps_no_reference_to_the_coalescer():
    answered, go_on = threading.Event(), threading.Event()
    coalescer = Coalescer(lambda texts, key: np.zeros((len(texts), 2), np.float32))
    held = weakref.ref(coalescer)
    future = coalescer.submit(["a"], "key")
    future.add_done_callback(
        lambda _: (answered.set(), go_on.wait(WAIT_S))
    )  # in the coalescer's thread, which stays in this callback
    assert answered.wait(WAIT_S)
    del coalescer
    gc.collect()
    kept = held()
    go_on.set()
    assert kept is None


async def test_short_requests_of_the_same_key_overtake_the_rest_of_long_ones_and_these_still_advance():
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0, max_texts=4) as coalescer:
        first = coalescer.submit(["first"], "k")
        await recorder.held()
        long = [coalescer.submit([f"{name}{row}" for row in range(8)], "k") for name in "ab"]
        short = [coalescer.submit([f"short {row}"], "k") for row in range(2)]
        recorder.gate.set()
        for future in [first, *long, *short]:
            future.result(WAIT_S)
    assert recorder.calls[1][0] == ["short 0", "short 1", "a0", "a1"]
    assert recorder.calls[2][0] == ["b0", "b1", "b2", "b3"]
    assert recorder.calls[3][0] == ["a2", "a3", "a4", "a5"]
    assert [len(texts) for texts, _ in recorder.calls] == [1, 4, 4, 4, 4, 2]


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_long_request_is_overtaken_for_a_bounded_multiple_of_its_own_cost(pieces):
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0, max_texts=2) as coalescer:
        first = coalescer.submit(["first"], "k")
        await recorder.held()
        long = coalescer.submit([f"long {row}" for row in range(2 * pieces)], "k")

        def run(texts, key):  # whenever a batch runs, two more short requests come
            short.extend(coalescer.submit([f"short {len(short)}"], "k") for _ in range(2) if not long.done())
            return recorder(texts, key)

        short = [coalescer.submit([f"early {row}"], "k") for row in range(2)]
        coalescer.run = run
        recorder.gate.set()
        for future in [first, long]:
            future.result(WAIT_S)
        for future in short:
            future.result(WAIT_S)
    order = [text for texts, _ in recorder.calls for text in texts]
    last = order.index(f"long {2 * pieces - 1}")
    overtaking = sum(text.startswith(("early", "short")) for text in order[:last])
    own = 2  # a short request waits for its own cost in this way too
    assert 2 * 2 * pieces - own <= overtaking <= 2 * 2 * pieces


async def test_a_batch_is_bounded_by_the_cost_of_its_texts_and_one_of_more_is_alone():
    recorder = Recorder(held=True)
    with Coalescer(recorder, window_s=0.0, cost=len, max_cost=6) as coalescer:
        first = coalescer.submit(["f"], "k")
        await recorder.held()
        futures = [coalescer.submit(texts, "k") for texts in (["aaaaaaaa", "bb"], ["ccc", "ccc"], ["d"])]
        recorder.gate.set()
        for future in [first, *futures]:
            future.result(WAIT_S)
    batches = [texts for texts, _ in recorder.calls[1:]]
    assert sorted(text for texts in batches for text in texts) == ["aaaaaaaa", "bb", "ccc", "ccc", "d"]
    assert ["aaaaaaaa"] in batches
    assert all(sum(map(len, texts)) <= 6 for texts in batches if texts != ["aaaaaaaa"])
    assert len(batches) == 3
