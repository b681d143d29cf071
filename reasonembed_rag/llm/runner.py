"""Many calls at once for many jobs: a job is a generator that yields the prompts it needs and is sent the replies."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm.client import Ask, Caller, Reply

__all__ = ["Job", "Tally", "run_jobs"]

T = TypeVar("T")

Job = Generator[Sequence[Ask], Sequence[Reply], T]
"""Yields prompts to be asked at once, is sent their replies in order, and returns what it came to."""

_JOBS_AHEAD = 1024
"""Jobs begun beyond the oldest unfinished one: bounds what waits in memory for its turn."""
_FUSE_CALLS = 100
_FUSE_LEAST = 20


@dataclass(slots=True)
class Tally:
    """What a stage has asked so far, whoever asked for it."""

    calls: int = 0
    """Those that brought an answer."""
    remembered: int = 0
    """Answers and lasting failures taken from the journal."""
    failures: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    last_failure: str | None = None
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_FUSE_CALLS))
    """Whether each of the latest calls failed."""

    def count(self, reply: Reply, caller: Caller) -> None:
        """Count a reply."""
        self.retries += reply.retries
        if reply.remembered:
            self.remembered += 1
        elif reply.answer is None:
            self.failures += 1
            self.last_failure = reply.failure
        else:
            self.calls += 1
            self.input_tokens += reply.answer.input_tokens or 0
            self.output_tokens += reply.answer.output_tokens or 0
            self.cost = caller.model.config.cost(input_tokens=self.input_tokens, output_tokens=self.output_tokens)


@dataclass(slots=True)
class _Running(Generic[T]):
    """A job under way."""

    job: Job[T]
    replies: list[Reply | None] = field(default_factory=list)
    missing: int = 0
    results: list[T] = field(default_factory=list)
    """What it came to, once it is done."""


def run_jobs(
    jobs: Iterable[Job[T]], caller: Caller, *, tally: Tally, tell: Callable[[], None] | None = None
) -> Iterator[T]:
    """Run jobs with as many calls under way as the caller's settings allow; yield what they return, in their order.

    Jobs are begun only as there is work for the threads to take, and prompts that are under way already are not asked
    twice. `tell` is called after each reply. Raises ChatError where the model cannot be asked or too many calls fail;
    when that happens, or the iterator is left, calls under way are finished and journaled first.
    """
    crew = _Crew[T](caller, tally=tally, tell=tell)
    try:
        yield from crew.run(iter(jobs))
    finally:
        crew.dismiss()


class _Crew(Generic[T]):
    def __init__(self, caller: Caller, *, tally: Tally, tell: Callable[[], None] | None) -> None:
        self._caller = caller
        self._tally = tally
        self._tell = tell
        self._work: queue.SimpleQueue[tuple[bytes, Ask] | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[bytes, Reply | BaseException | None]] = queue.SimpleQueue()
        self._waiting: dict[bytes, list[tuple[_Running[T], int]]] = {}
        self._threads: list[threading.Thread] = []

    def run(self, jobs: Iterator[Job[T]]) -> Iterator[T]:
        ahead: deque[_Running[T]] = deque()
        enough = 2 * self._caller.config.concurrency
        more = True
        while more or ahead:
            while more and len(self._waiting) < enough and len(ahead) < _JOBS_AHEAD:
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    ahead.append(_Running(job))
                    self._advance(ahead[-1], first=True)
                if ahead and ahead[0].results:
                    break  # hand over what the journal answered before more is begun
            while ahead and ahead[0].results:
                yield ahead.popleft().results[0]
            if self._waiting and (len(self._waiting) >= enough or not more or len(ahead) >= _JOBS_AHEAD):
                self._take()

    def dismiss(self) -> None:
        """Let the threads finish their calls, and end them."""
        if self._waiting:
            self._caller.stop.set()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _advance(self, running: _Running[T], *, first: bool = False) -> None:
        """Take a job on until it waits for a call or is done; what the journal holds it gets at once."""
        while True:
            try:
                asks = next(running.job) if first else running.job.send([r for r in running.replies if r is not None])
            except StopIteration as stop:
                running.results = [stop.value]
                return
            first = False
            running.replies = [None] * len(asks)
            running.missing = 0
            for place, ask in enumerate(asks):
                self._submit(running, place, ask)
            if running.missing:
                return

    def _submit(self, running: _Running[T], place: int, ask: Ask) -> None:
        key = self._caller.key(ask)
        if key not in self._waiting:
            remembered = self._caller.remembered(key)
            if remembered is not None:
                running.replies[place] = remembered
                self._count(remembered)
                return
            self._waiting[key] = []
            self._work.put((key, ask))
            if len(self._threads) < min(self._caller.config.concurrency, len(self._waiting)):
                self._hire()
        self._waiting[key].append((running, place))
        running.missing += 1

    def _take(self) -> None:
        """Wait for a call to end, and hand its reply to the jobs that wait for it."""
        key, reply = self._finished.get()
        if isinstance(reply, BaseException):
            raise reply
        if reply is None:
            raise ChatError("stopped before all calls were made; run the same command again to go on")
        self._count(reply)
        self._watch_fuse(reply)
        for running, place in self._waiting.pop(key):
            running.replies[place] = reply
            running.missing -= 1
            if not running.missing:
                self._advance(running)

    def _count(self, reply: Reply) -> None:
        self._tally.count(reply, self._caller)
        if self._tell is not None:
            self._tell()

    def _watch_fuse(self, reply: Reply) -> None:
        if not reply.sent:
            return
        recent = self._tally.recent
        recent.append(reply.answer is None)
        failed = sum(recent)
        if reply.answer is None and len(recent) >= _FUSE_LEAST:
            share = failed / len(recent)
            if share >= self._caller.config.fuse:
                raise ChatError(
                    f"{failed} of the last {len(recent)} calls of {self._caller.model.config.name} failed, the "
                    f"last with: {reply.failure}; mend that and run the same command again, no answer is paid for twice"
                )

    def _hire(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"remix-{self._caller.stage}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while True:
            item = self._work.get()
            if item is None:
                return
            key, ask = item
            try:
                reply: Reply | BaseException | None = self._caller.call(key, ask)
            except BaseException as error:  # noqa: BLE001 - raised again where the jobs are run
                reply = error
            self._finished.put((key, reply))
