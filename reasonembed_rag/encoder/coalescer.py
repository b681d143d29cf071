"""Join concurrent small requests, from any number of event loops and threads, into few calls of one thread.

While the thread is idle, a request waits a few milliseconds for others; while it is busy, requests queue and form the
next batch. Long requests are split into slices, so that a short one behind them does not wait long.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self, TypeAlias

import numpy as np

from reasonembed_rag.errors import BackendError, InputError
from reasonembed_rag.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    Run: TypeAlias = Callable[[list[str], Hashable], NDArray[np.float32]]

__all__ = ["Coalescer"]


@dataclass(slots=True, eq=False)
class _Request:
    """The texts of one caller, and the vectors computed so far."""

    owner: Coalescer
    """Keeps the coalescer alive while a request is pending; released before the future is resolved."""
    texts: list[str]
    key: Hashable
    future: Future[NDArray[np.float32]] = field(default_factory=Future)
    started: bool = False
    dropped: bool = False
    taken: int = 0
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def claim(self) -> bool:
        """Mark the request as running; return whether its caller still waits. Later only `dropped` can cancel it."""
        if not self.started:
            self.started = True
            self.dropped = not self.future.set_running_or_notify_cancel() or self.dropped
        return not self.dropped

    def take(self, most: int) -> list[str]:
        """Return the next texts to run, at most `most`."""
        texts = self.texts[self.taken : self.taken + most]
        self.taken += len(texts)
        return texts

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Add the vectors of the next texts; resolve the future when all are there."""
        self.vectors.append(vectors.copy())  # a view would keep the whole batch alive and share its memory
        if sum(map(len, self.vectors)) == len(self.texts):
            del self.owner
            self.future.set_result(self.vectors[0] if len(self.vectors) == 1 else np.concatenate(self.vectors))

    def fail(self, error: BaseException) -> None:
        """Resolve the future with an error; remaining slices are not run."""
        self.dropped = True
        self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Texts of one request that are part of one batch."""

    request: _Request
    texts: list[str]


class Coalescer:
    """Join requests with equal keys and run them in one thread, started by the first request.

    run(texts, key) returns one row per text; the key holds what must be equal for texts to share a call (role,
    instruction, adapter). A failed batch is halved until only the request at fault fails; an error of the `outages`
    types, which no text can cause, fails the whole batch at once.
    """

    def __init__(
        self,
        run: Run,
        *,
        window_s: float = 0.003,
        max_texts: int = 256,
        outages: tuple[type[Exception], ...] = (),
    ) -> None:
        if window_s < 0 or max_texts < 1:
            raise InputError(f"window_s is {window_s} and max_texts {max_texts}; want at least 0 and 1")
        self.run = run
        self.outages = outages
        self._window_s = window_s
        self._max_texts = max_texts
        self._closed = False
        self.renew_after_fork()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Start anew without requests: those of the parent, and its thread, are not in a forked child."""
        self._inbox: SimpleQueue[_Request | None] = SimpleQueue()
        self._lock = threading.RLock()  # held for microseconds: safe in an event loop
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, texts: Sequence[str], key: Hashable) -> Future[NDArray[np.float32]]:
        """Return a future of the vectors (n, D) of the texts; raises BackendError where the coalescer is closed."""
        return self._enqueue(texts, key).future

    async def encode(self, texts: Sequence[str], key: Hashable) -> NDArray[np.float32]:
        """Return the vectors (n, D) of the texts; cancelling one caller does not affect the others.

        Raises what run raises for these texts, BackendError where the coalescer is closed.
        """
        request = self._enqueue(texts, key)
        try:
            return await asyncio.wrap_future(request.future)
        except asyncio.CancelledError:
            request.dropped = True
            raise

    def close(self) -> None:
        """Stop the thread after the pending requests; later requests are refused."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._inbox.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _enqueue(self, texts: Sequence[str], key: Hashable) -> _Request:
        request = _Request(self, list(texts), key)
        hash(key)  # an unhashable key fails in the caller's thread
        with self._lock:
            if self._closed:
                raise BackendError("the encoder is closed; load it again to continue")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_run_loop,
                    args=(self._inbox, self._window_s, self._max_texts),
                    name="reasonembed-coalescer",
                    daemon=True,
                )
                self._thread.start()
                weakref.finalize(self, self._inbox.put, None)
            self._inbox.put(request)
        return request


def _run_loop(inbox: SimpleQueue[_Request | None], window_s: float, max_texts: int) -> None:
    """Run batches until None arrives; hold no coalescer while idle, so that an unused one can be collected."""
    waiting: deque[_Request] = deque()
    closing = False
    while waiting or not closing:
        closing = closing or _receive(inbox, waiting, window_s=window_s, enough=max_texts)
        _run(_next_batch(waiting, max_texts))


def _receive(inbox: SimpleQueue[_Request | None], waiting: deque[_Request], *, window_s: float, enough: int) -> bool:
    """Collect requests for up to `window_s`, or only those queued if some wait already; return True on shutdown."""
    deadline = 0.0
    if not waiting:
        first = inbox.get()
        if first is None:
            return True
        waiting.append(first)
        deadline = time.monotonic() + window_s
    count = sum(len(request.texts) for request in waiting)
    while True:
        pause = max(0.0, deadline - time.monotonic()) if count < enough else 0.0
        try:
            request = inbox.get(timeout=pause)
        except Empty:
            return False
        if request is None:
            return True
        waiting.append(request)
        count += len(request.texts)


def _next_batch(waiting: deque[_Request], max_texts: int) -> list[_Slice]:
    """Take the first request and those with its key, up to max_texts; the rest of a long one goes to the end."""
    batch: list[_Slice] = []
    unfinished: list[_Request] = []
    room = max_texts
    for _ in range(len(waiting)):  # once each: what is not taken keeps its order
        request = waiting.popleft()
        if batch and (room == 0 or request.key != batch[0].request.key):
            waiting.append(request)
        elif request.claim():
            texts = request.take(room)
            room -= len(texts)
            batch.append(_Slice(request, texts))
            if request.taken < len(request.texts):
                unfinished.append(request)
    waiting.extend(unfinished)
    return batch


def _run(batch: list[_Slice]) -> None:
    """Run a batch and resolve its requests; halve a failing one to find the request at fault."""
    if not batch:
        return
    owner, key = batch[0].request.owner, batch[0].request.key
    texts = [text for part in batch for text in part.texts]
    try:
        vectors = owner.run(texts, key)
        if len(vectors) != len(texts):
            raise BackendError(f"{len(texts)} texts gave {len(vectors)} vectors; want one per text")  # noqa: TRY301
    except BaseException as error:  # noqa: BLE001 - passed to the callers: none may wait forever
        if len(batch) > 1 and not isinstance(error, owner.outages):
            _run(batch[: len(batch) // 2])
            _run(batch[len(batch) // 2 :])
            return
        for part in batch:
            part.request.fail(error)
    else:
        del owner  # a caller with its result may drop the encoder: keep no reference here
        stop = 0
        for part in batch:
            start, stop = stop, stop + len(part.texts)
            part.request.add(vectors[start:stop])
