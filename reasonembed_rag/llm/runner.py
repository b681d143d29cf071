"""Run many jobs of chat calls in a thread pool: a job is a generator that yields requests and is sent the replies."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm.client import OVER_CONTEXT, ChatClient, ChatReply, ChatRequest

__all__ = ["CallStats", "ChatJob", "run_jobs"]

T = TypeVar("T")

ChatJob = Generator[Sequence[ChatRequest], Sequence[ChatReply], T]
"""Yields requests that are sent concurrently, is sent their replies in order, and returns its result."""

_MAX_STARTED_JOBS = 1024
"""Jobs started from the oldest unfinished one on: bounds the memory of results that wait for their turn."""
_BREAKER_CALLS = 100
_BREAKER_MIN_CALLS = 20


@dataclass(slots=True)
class CallStats:
    """Counts of the calls so far."""

    calls: int = 0
    """Calls with an answer."""
    cached: int = 0
    """Answers and permanent failures taken from the cache."""
    failures: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    last_failure: str | None = None
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_BREAKER_CALLS))
    """Whether each of the latest calls failed: the circuit breaker's window."""

    def count(self, reply: ChatReply, client: ChatClient) -> None:
        """Count a reply."""
        self.retries += reply.retries
        if reply.cached:
            self.cached += 1
        elif reply.answer is None:
            self.failures += 1
            self.last_failure = reply.failure
        else:
            self.calls += 1
            self.input_tokens += reply.answer.input_tokens or 0
            self.output_tokens += reply.answer.output_tokens or 0
            self.cost = client.model.settings.cost(input_tokens=self.input_tokens, output_tokens=self.output_tokens)


def run_jobs(
    jobs: Iterable[ChatJob[T]],
    client: ChatClient,
    *,
    stats: CallStats,
    on_reply: Callable[[], None] | None = None,
) -> Iterator[T]:
    """Run jobs with as many calls in flight as the client's settings allow; yield their results in order.

    Jobs are started only as threads need work, and a request that is in flight already is not sent twice. `on_reply`
    is called after each reply is counted. Raises ChatError where the model cannot be called or too many calls fail;
    then, or when the iterator is closed, calls in flight are finished and cached first.
    """
    runner = _Runner[T](client, stats=stats, on_reply=on_reply)
    try:
        yield from runner.run(iter(jobs))
    finally:
        runner.shutdown()


@dataclass(slots=True)
class _StartedJob(Generic[T]):
    job: ChatJob[T]
    replies: list[ChatReply | None] = field(default_factory=list)
    missing: int = 0
    results: list[T] = field(default_factory=list)
    """Its one result, once it is finished."""


class _Runner(Generic[T]):
    """A thread pool that starts workers on demand; all job code runs in the calling thread."""

    def __init__(self, client: ChatClient, *, stats: CallStats, on_reply: Callable[[], None] | None) -> None:
        self._client = client
        self._stats = stats
        self._on_reply = on_reply
        self._queue: queue.SimpleQueue[tuple[bytes, ChatRequest] | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[bytes, ChatReply | BaseException | None]] = queue.SimpleQueue()
        self._waiting: dict[bytes, list[tuple[_StartedJob[T], int]]] = {}
        self._workers: list[threading.Thread] = []
        self._started: deque[_StartedJob[T]] = deque()

    def run(self, jobs: Iterator[ChatJob[T]]) -> Iterator[T]:
        started = self._started
        enough = 2 * self._client.settings.concurrency
        more = True
        while more or started:
            while more and len(self._waiting) < enough and len(started) < _MAX_STARTED_JOBS:
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    started.append(_StartedJob(job))
                    self._advance(started[-1], first=True)
                if started and started[0].results:
                    break  # yield what the cache answered before more jobs are started
            while started and started[0].results:
                yield started.popleft().results[0]
            if self._waiting and (len(self._waiting) >= enough or not more or len(started) >= _MAX_STARTED_JOBS):
                self._receive()

    def shutdown(self) -> None:
        """Close the jobs that are left, let the workers finish their calls, and join them."""
        if self._waiting:
            self._client.stop.set()
        for started in self._started:
            started.job.close()
        for _ in self._workers:
            self._queue.put(None)
        for worker in self._workers:
            worker.join()

    def _advance(self, started: _StartedJob[T], *, first: bool = False) -> None:
        """Run a job until it waits for a call or is finished; cached replies are sent to it at once."""
        while True:
            try:
                replies = [reply for reply in started.replies if reply is not None]
                requests = next(started.job) if first else started.job.send(replies)
            except StopIteration as stop:
                started.results = [stop.value]
                return
            first = False
            started.replies = [None] * len(requests)
            started.missing = 0
            for index, request in enumerate(requests):
                self._submit(started, index, request)
            if started.missing:
                return

    def _submit(self, started: _StartedJob[T], index: int, request: ChatRequest) -> None:
        key = self._client.key(request)
        if key not in self._waiting:
            cached = self._client.cached(key)
            if cached is not None:
                started.replies[index] = cached
                self._count(cached)
                return
            self._waiting[key] = []
            self._queue.put((key, request))
            if len(self._workers) < min(self._client.settings.concurrency, len(self._waiting)):
                self._start_worker()
        self._waiting[key].append((started, index))
        started.missing += 1

    def _receive(self) -> None:
        """Wait for a call to end, and hand its reply to the jobs that wait for it."""
        key, reply = self._finished.get()
        if isinstance(reply, BaseException):
            raise reply
        if reply is None:
            raise ChatError("stopped before all calls were made; run the same command again to continue")
        self._count(reply)
        self._check_breaker(reply)
        for started, index in self._waiting.pop(key):
            started.replies[index] = reply
            started.missing -= 1
            if not started.missing:
                self._advance(started)

    def _count(self, reply: ChatReply) -> None:
        self._stats.count(reply, self._client)
        if self._on_reply is not None:
            self._on_reply()

    def _check_breaker(self, reply: ChatReply) -> None:
        """Raise ChatError when too many of the latest calls failed."""
        if not reply.sent or reply.reason == OVER_CONTEXT:  # this prompt's fault, and nothing is paid for it
            return
        recent = self._stats.recent
        recent.append(reply.answer is None)
        failed = sum(recent)
        too_many = failed / len(recent) >= self._client.settings.max_failure_share
        if reply.answer is None and len(recent) >= _BREAKER_MIN_CALLS and too_many:
            raise ChatError(
                f"{failed} of the last {len(recent)} calls of {self._client.model.settings.name} failed, the last "
                f"with: {reply.failure}; fix that and run again, stored answers are not paid for twice"
            )

    def _start_worker(self) -> None:
        worker = threading.Thread(target=self._work, name=f"llm-{self._client.stage}", daemon=True)
        self._workers.append(worker)
        worker.start()

    def _work(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            key, request = item
            try:
                reply: ChatReply | BaseException | None = self._client.call(key, request)
            except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
                reply = error
            self._finished.put((key, reply))
