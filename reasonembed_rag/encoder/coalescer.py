"""Concurrent small requests, from any number of event loops and threads, joined into few calls of one thread.

A request waits a few milliseconds for company while the thread is idle, and not at all while it is busy: what arrives
meanwhile makes the next batch. Long requests go in slices, so that a short one behind them soon has its turn.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    Run: TypeAlias = Callable[[list[str], Hashable], NDArray[np.float32]]

__all__ = ["Coalescer"]


@dataclass(slots=True, eq=False)
class _Request:
    """What one caller waits for, and how far it has come."""

    owner: Coalescer
    """Keeps the coalescer alive while a request is on its way; let go before the answer is given."""
    texts: list[str]
    key: Hashable
    future: Future[NDArray[np.float32]] = field(default_factory=Future)
    started: bool = False
    dropped: bool = False
    taken: int = 0
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def wanted(self) -> bool:
        """Return whether anybody still waits; from now on only `dropped` can take the request back."""
        if not self.started:
            self.started = True
            self.dropped = not self.future.set_running_or_notify_cancel() or self.dropped
        return not self.dropped

    def take(self, most: int) -> list[str]:
        """Return the next texts to run, at most so many."""
        texts = self.texts[self.taken : self.taken + most]
        self.taken += len(texts)
        return texts

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Take the vectors of the next texts, and answer when they are complete."""
        self.vectors.append(vectors.copy())  # a view would keep the joint batch alive, and be shared
        if sum(map(len, self.vectors)) == len(self.texts):
            del self.owner
            self.future.set_result(self.vectors[0] if len(self.vectors) == 1 else np.concatenate(self.vectors))

    def fail(self, error: BaseException) -> None:
        """Answer with an error; slices to come are not run."""
        self.dropped = True
        self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Slice:
    """The texts of a request that go into one batch."""

    request: _Request
    texts: list[str]


class Coalescer:
    """Join requests of equal key and run them in one thread of its own, which starts with the first request.

    run(texts, key) returns one row a text; the key holds all that must be equal for texts to share a call (role,
    instruction, adapter). A batch that fails is halved until the failure has found its request, and the others theirs;
    an error of the `outages` kinds, which no text can cause, goes to all its requests at once.
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
        self._inbox: SimpleQueue[_Request | None] = SimpleQueue()
        self._gate = threading.RLock()  # held for microseconds: an event loop may pass it
        self._thread: threading.Thread | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, texts: Sequence[str], key: Hashable) -> Future[NDArray[np.float32]]:
        """Return the future vectors (n, D) of the texts; raises BackendError where the coalescer is closed."""
        return self._send(texts, key).future

    async def encode(self, texts: Sequence[str], key: Hashable) -> NDArray[np.float32]:
        """Return the vectors (n, D) of the texts; a caller that is cancelled leaves the others' work alone.

        Raises what run raises for these texts, BackendError where the coalescer is closed.
        """
        request = self._send(texts, key)
        try:
            return await asyncio.wrap_future(request.future)
        except asyncio.CancelledError:
            request.dropped = True
            raise

    def close(self) -> None:
        """End the thread once what it was given is done; later requests are refused."""
        with self._gate:
            self._closed = True
            thread = self._thread
            self._inbox.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _send(self, texts: Sequence[str], key: Hashable) -> _Request:
        request = _Request(self, list(texts), key)
        hash(key)  # a key that cannot be compared fails here, at its caller
        with self._gate:
            if self._closed:
                raise BackendError("the encoder is closed; load it again to go on")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_serve,
                    args=(self._inbox, self._window_s, self._max_texts),
                    name="reasonembed-coalescer",
                    daemon=True,
                )
                self._thread.start()
                weakref.finalize(self, self._inbox.put, None)
            self._inbox.put(request)
        return request


def _serve(inbox: SimpleQueue[_Request | None], window_s: float, max_texts: int) -> None:
    """Run batches until told to end; holds no coalescer while idle, so that a forgotten one can be collected."""
    waiting: deque[_Request] = deque()
    closing = False
    while waiting or not closing:
        closing = closing or _receive(inbox, waiting, window_s=window_s, enough=max_texts)
        _run(_next_batch(waiting, max_texts))


def _receive(inbox: SimpleQueue[_Request | None], waiting: deque[_Request], *, window_s: float, enough: int) -> bool:
    """Move what has come to `waiting`, biding the window where nothing waited yet; return whether the end has come."""
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
    """Take the first request and those of equal key, up to max_texts; what is left of a long one goes to the end."""
    batch: list[_Slice] = []
    unfinished: list[_Request] = []
    room = max_texts
    for _ in range(len(waiting)):  # once round: what is not taken keeps its order
        request = waiting.popleft()
        if batch and (room == 0 or request.key != batch[0].request.key):
            waiting.append(request)
        elif request.wanted():
            texts = request.take(room)
            room -= len(texts)
            batch.append(_Slice(request, texts))
            if request.taken < len(request.texts):
                unfinished.append(request)
    waiting.extend(unfinished)
    return batch


def _run(batch: list[_Slice]) -> None:
    """Run a batch and answer its requests; where it fails, halve it to find the request that is to blame."""
    if not batch:
        return
    owner, key = batch[0].request.owner, batch[0].request.key
    texts = [text for part in batch for text in part.texts]
    try:
        vectors = owner.run(texts, key)
        if len(vectors) != len(texts):
            raise BackendError(f"{len(texts)} texts gave {len(vectors)} vectors; want one a text")  # noqa: TRY301
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the callers: none may wait forever
        if len(batch) > 1 and not isinstance(error, owner.outages):
            _run(batch[: len(batch) // 2])
            _run(batch[len(batch) // 2 :])
            return
        for part in batch:
            part.request.fail(error)
    else:
        del owner  # whoever has an answer may forget the encoder at once: nothing here keeps it
        stop = 0
        for part in batch:
            start, stop = stop, stop + len(part.texts)
            part.request.add(vectors[start:stop])
