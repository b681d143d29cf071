"""Many calls at once: order, resumption, retries, the circuit breaker, memory."""

from __future__ import annotations

import threading
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import ChatError, StoreError
from reasonembed_rag.llm.cache import ResponseCache
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.client import ChatClient, ChatRequest
from reasonembed_rag.llm.model import ChatModel
from reasonembed_rag.llm.runner import CallStats, run_jobs
from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings


class Model:
    """Answer with the prompt in capitals, after the failures that a prompt has in store."""

    def __init__(self, failures=None, *, gate: threading.Barrier | None = None) -> None:
        self.failures = failures or {}
        self.gate = gate
        self.calls: Counter[str] = Counter()
        self.running = self.most_running = 0
        self.lock = threading.Lock()

    def __call__(self, prompt: str) -> Answer:
        with self.lock:
            self.calls[prompt] += 1
            call = self.calls[prompt]
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        if self.gate is not None:
            self.gate.wait(timeout=30)
        with self.lock:
            self.running -= 1
        errors = self.failures.get(prompt, ())
        if call <= len(errors):
            raise errors[call - 1]
        return Answer(prompt.upper(), input_tokens=10, output_tokens=2)


@pytest.fixture
def cache(tmp_path):
    with ResponseCache.open(tmp_path / "journal.sqlite", corpus="c") as opened:
        yield opened


@pytest.fixture
def make_client(cache):
    def make(model, *, model_settings=None, **config) -> ChatClient:
        chat = ChatModel(model, ChatModelSettings(name="m", parameters={}, **(model_settings or {})))
        calls = CallSettings(**{"first_wait": 0.0, "concurrency": 4, **config})
        return ChatClient(chat, stage="judge", cache=cache, settings=calls, stop=threading.Event())

    return make


def _job(*waves):
    """Ask these waves of prompts, and return all that was said."""
    said = []
    for wave in waves:
        replies = yield [ChatRequest(prompt) for prompt in wave]
        said += [reply.answer.text if reply.answer else reply.reason for reply in replies]
    return said


def _run(client: ChatClient, jobs):
    stats = CallStats()
    return list(run_jobs(jobs, client, stats=stats)), stats


_WAVES = st.lists(st.lists(st.lists(st.text("abc", min_size=1, max_size=3), max_size=4), max_size=3), max_size=12)


@settings(max_examples=40, deadline=None)
@given(_WAVES, st.integers(1, 6))
def test_jobs_come_to_what_they_would_one_by_one_in_their_order(tmp_path_factory, jobs, concurrency: int):
    model = Model()
    with ResponseCache.open(tmp_path_factory.mktemp("cache") / "journal.sqlite", corpus="c") as opened:
        chat = ChatModel(model, ChatModelSettings(name="m"))
        config = CallSettings(concurrency=concurrency)
        client = ChatClient(chat, stage="judge", cache=opened, settings=config, stop=threading.Event())
        results, stats = _run(client, (_job(*waves) for waves in jobs))
    assert results == [[prompt.upper() for wave in waves for prompt in wave] for waves in jobs]
    assert set(model.calls.values()) <= {1}, "a prompt was paid for twice"
    assert stats.calls == len(model.calls)


def test_a_second_run_pays_for_nothing(make_client):
    model = Model()
    jobs = [[["a", "b"]], [["c"], ["d"]]]
    first, _ = _run(make_client(model), (_job(*waves) for waves in jobs))
    again, stats = _run(make_client(model), (_job(*waves) for waves in jobs))
    assert again == first
    assert sum(model.calls.values()) == 4
    assert (stats.calls, stats.cached, stats.input_tokens) == (0, 4, 0)


def test_as_many_calls_are_under_way_as_are_allowed_and_no_more(make_client):
    model = Model(gate=threading.Barrier(4))  # opens only when four calls wait at it together
    results, _ = _run(make_client(model), (_job([f"p{number}"]) for number in range(40)))
    assert len(results) == 40
    assert model.most_running == 4


def test_jobs_are_begun_only_as_they_are_needed(make_client):
    begun = []

    def jobs():
        for number in range(1000):
            begun.append(number)
            yield _job([f"p{number}"])

    running = run_jobs(jobs(), make_client(Model()), stats=CallStats())
    next(running)
    assert len(begun) < 50
    running.close()


def test_what_waits_for_a_slow_job_is_bounded(make_client):
    others_done, begun, answered = threading.Event(), [], []

    def model(prompt: str) -> str:
        if prompt == "p0":
            assert others_done.wait(timeout=30)
        answered.append(prompt)
        if len(answered) == 1023:  # all that may be begun while p0 is waited for
            others_done.set()
        return prompt

    def jobs():
        for number in range(5000):
            begun.append(number)
            yield _job([f"p{number}"])

    running = run_jobs(jobs(), make_client(model), stats=CallStats())
    next(running)
    assert len(begun) == 1024
    running.close()


def test_retryable_failures_are_tried_again_and_paid_once(make_client, cache):
    errors = [ChatError("busy", status_code=429, retry_after=0.0), ChatError("oops", status_code=500), TimeoutError()]
    model = Model({"a": errors})
    results, stats = _run(make_client(model), [_job(["a", "b"])])
    assert results == [["A", "B"]]
    assert (stats.calls, stats.retries, stats.failures) == (2, 3, 0)
    assert len(cache) == 2


def test_a_retryable_failure_that_stays_is_not_cached_and_asked_for_by_the_next_run(make_client, cache):
    model = Model({"a": [TimeoutError()] * 3})
    results, stats = _run(make_client(model, attempts=3), [_job(["a", "b"])])
    assert results == [["call failed, retryable", "B"]]
    assert (stats.calls, stats.failures, len(cache)) == (1, 1, 1)
    results, stats = _run(make_client(model), [_job(["a", "b"])])
    assert results == [["A", "B"]]
    assert (stats.calls, stats.cached) == (1, 1)


def test_a_permanent_failure_is_cached_and_not_retried_unless_asked(make_client, cache):
    model = Model({"a": [ChatError("bad prompt", status_code=400)]})
    for _ in range(2):
        results, _ = _run(make_client(model), [_job(["a", "b"])])
        assert results == [["call failed", "B"]]
    assert model.calls == {"a": 1, "b": 1}
    results, _ = _run(make_client(model, retry_failed=True), [_job(["a", "b"])])
    assert results == [["A", "B"]]
    assert model.calls == {"a": 2, "b": 1}


def test_an_odd_exception_fails_its_call_for_this_run_only(make_client, cache):
    model = Model({"a": [ValueError("odd")]})
    assert _run(make_client(model), [_job(["a"])])[0] == [["call failed, retryable"]]
    assert len(cache) == 0
    assert _run(make_client(model), [_job(["a"])])[0] == [["A"]]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_failure_that_every_call_would_meet_stops_the_run_at_once(make_client, status: int):
    model = Model({f"p{number}": [ChatError("no", status_code=status)] * 9 for number in range(1000)})
    with pytest.raises(ChatError, match=r"\bm\b.*ChatError: no\b.*(\bAPI key\b|/v1\b)"):
        _run(make_client(model), (_job([f"p{number}"]) for number in range(1000)))
    assert sum(model.calls.values()) <= 8, "calls went on after the first fatal failure"


def test_a_prompt_over_the_context_is_not_sent(make_client, cache):
    model = Model()
    client = make_client(model, model_settings={"context": 100})
    results, _ = _run(client, [_job(["x" * 401, "x" * 400])])
    assert results == [["over the model's context", "X" * 400]]
    assert list(model.calls) == ["x" * 400]
    assert len(cache) == 1


def test_the_circuit_breaker_stops_a_run_whose_calls_fail_and_keeps_what_was_answered(make_client, cache):
    failing = {f"p{number}": [ChatError("bad", status_code=400)] for number in range(10, 1000)}
    model = Model(failing)
    with pytest.raises(ChatError, match=r"\b20\b.*\bm\b.*ChatError: bad\b"):
        _run(make_client(model), (_job([f"p{number}"]) for number in range(1000)))
    assert 20 <= sum(model.calls.values()) < 40
    assert len(cache) == sum(model.calls.values())


def test_the_circuit_breaker_counts_the_calls_of_a_stage_whichever_jobs_they_were_made_for(make_client):
    failing = {f"p{number}": [ConnectionRefusedError("nobody there")] for number in range(100)}
    model, stats = Model(failing), CallStats()

    def ask(number: int) -> None:
        list(run_jobs(iter([_job([f"p{number}"])]), make_client(model, attempts=1), stats=stats))

    for number in range(19):
        ask(number)
    with pytest.raises(ChatError, match=r"\b20\b.*\b20\b.*\bm\b.*ConnectionRefusedError"):
        ask(19)
    assert stats.last_failure == "ConnectionRefusedError: nobody there"


def test_the_circuit_breaker_holds_below_its_share(make_client):
    failing = {f"p{number}": [ChatError("bad", status_code=400)] for number in range(0, 300, 3)}
    results, stats = _run(make_client(Model(failing)), (_job([f"p{number}"]) for number in range(300)))
    assert len(results) == 300
    assert stats.failures == 100


def test_a_cache_that_cannot_be_written_stops_the_run(make_client, cache):
    cache._database._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(StoreError, match=r"/journal\.sqlite\b.*\bdisk\b"):
        _run(make_client(Model()), (_job([f"p{number}" * 100]) for number in range(1000)))


def test_an_iterator_that_is_left_caches_every_call_that_was_made(make_client, cache):
    model = Model()
    running = run_jobs((_job([f"p{number}"]) for number in range(1000)), make_client(model), stats=CallStats())
    next(running)
    running.close()
    assert 1 <= len(cache) == sum(model.calls.values()) < 50
    assert not any("llm-" in thread.name for thread in threading.enumerate())


def test_a_job_that_asks_for_nothing_is_done(make_client):
    results, _ = _run(make_client(Model()), [_job(), _job([]), _job(["a"])])
    assert results == [[], [], ["A"]]


def _peak(client: ChatClient, jobs: int) -> int:
    tracemalloc.start()
    for _ in run_jobs((_job([f"{number:08}" * 250]) for number in range(jobs)), client, stats=CallStats()):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_calls(make_client):
    def count(prompt: str) -> Answer:
        return Answer(prompt)

    few, many = _peak(make_client(count), 300), _peak(make_client(count), 3000)
    assert many < few + 200_000, f"peak rose from {few:,} to {many:,} bytes; 2,700 answers are 5,400,000"


def test_a_request_at_another_temperature_is_asked_at_it_and_cached_apart(make_client):
    class Warm(Model):
        def at_temperature(self, prompt: str, temperature: float) -> Answer:
            return self(f"{prompt} at {temperature}")

    def job():
        replies = yield [ChatRequest("a"), ChatRequest("a", temperature=0.5), ChatRequest("a", temperature=0.6)]
        return [reply.answer.text for reply in replies]

    warm, plain = Warm(), Model()
    assert _run(make_client(warm), [job()])[0] == [["A", "A AT 0.5", "A AT 0.6"]]
    assert _run(make_client(warm), [job()])[1].cached == 3
    assert make_client(plain).model.answer("b", temperature=0.5).text == "B"
