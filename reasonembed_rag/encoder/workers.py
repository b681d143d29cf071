"""Several devices: a process each, fed from one queue of packs; what goes wrong in one is heard at once.

The queue stays in the parent, which gives each worker its next pack when a result comes back: there is no lock that a
killed worker could take with it, and a fast device simply asks more often. A pipe joins the parent to each worker. Its
end is how either learns of the other's death.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NoReturn, Self

import numpy as np

from reasonembed_rag.encoder.worker_process import Failure, Pack, Ready, Vectors, build_local, work
from reasonembed_rag.errors import BackendError, InputError, ModelError, ReasonEmbedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import EncoderSettings, Tokens
    from reasonembed_rag.encoder.local import RowVectors
    from reasonembed_rag.encoder.worker_process import Build, Described

__all__ = ["WorkerEngine"]

_AHEAD = 2
"""Packs a worker holds at a time: one to compute and one to go on with."""
_FAREWELL_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    device: str
    process: SpawnProcess
    connection: Connection


class WorkerEngine:
    """Compute on several devices, each in a process that loads the model once and keeps it until close.

    The processes start with start(), or with the first run. One call runs at a time; an error in a worker ends the call
    and leaves the engine usable, the death of a worker closes it. Programs that start workers need the usual
    `if __name__ == "__main__":` guard of multiprocessing.
    """

    def __init__(self, settings: EncoderSettings, *, devices: Sequence[str], build: Build = build_local) -> None:
        self._settings = settings
        self._devices = tuple(devices)
        self._build = build
        self._workers: list[_Worker] = []
        self._described: Described | None = None
        self._closed: str | None = None
        """Why the engine is closed."""
        self._call = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Described:
        """Start the workers where they do not run yet, wait until all hold the model, and return what it is.

        Raises what loading the model raises, BackendError for a worker that dies, and InputError for devices that give
        different vectors, as dtype="auto" can.
        """
        if self._closed is not None:
            raise BackendError(self._closed)
        if self._described is None:
            try:
                self._described = self._launch()
            except BaseException as error:
                self._shut(f"the workers did not start: {error}")
                raise
        return self._described

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield the vectors of each pack as it is done, in any order.

        Raises the error of a worker, BackendError where one dies or the engine is closed. A later run ends this one.
        """
        from reasonembed_rag.encoder.local import RowVectors

        self.start()
        self._call += 1
        call = self._call
        waiting = deque(number for number, rows in enumerate(packs) if len(rows))
        left = len(waiting)

        def feed(worker: _Worker) -> None:
            if waiting:
                number = waiting.popleft()
                self._send(worker, Pack(call, number, _part_of(tokens, packs[number]), adapter))

        for worker in self._workers * _AHEAD:
            feed(worker)
        while left:
            for worker, message in self._receive():
                if isinstance(message, Failure) and message.call == call:
                    raise _rebuilt(message, worker)
                if not isinstance(message, Vectors) or message.call != call:
                    continue  # of a call that ended early: by an error, or given up by its caller
                feed(worker)
                left -= 1
                yield RowVectors(packs[message.number], message.vectors)
                if self._call != call:
                    raise BackendError("a later call has begun on this engine; take one call's results at a time")

    def close(self) -> None:
        """End the workers; a closed engine cannot run."""
        self._shut("the encoder is closed; load it again to go on")

    def _launch(self) -> Described:
        context = multiprocessing.get_context("spawn")
        for device in self._devices:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=work,
                args=(theirs, self._settings, device, len(self._devices), self._build),
                name=f"reasonembed-worker-{device}",
                daemon=True,
            )
            process.start()
            self._workers.append(_Worker(device, process, ours))
            theirs.close()
        described: dict[int, Described] = {}
        while len(described) < len(self._workers):
            for worker, message in self._receive():
                if isinstance(message, Failure):
                    raise _rebuilt(message, worker)
                if isinstance(message, Ready):
                    described[self._workers.index(worker)] = message.described
        return self._common(described)

    def _common(self, described: Mapping[int, Described]) -> Described:
        for number, device in enumerate(self._devices):
            if described[number].spec != described[0].spec:
                raise InputError(
                    f"{self._devices[0]} and {device} give different vectors: {described[0].spec.to_json()} and "
                    f"{described[number].spec.to_json()}; name a dtype that both have instead of 'auto'"
                )
        return described[0]

    def _send(self, worker: _Worker, message: object) -> None:
        try:
            worker.connection.send(message)
        except OSError:
            self._lose(worker)

    def _receive(self) -> list[tuple[_Worker, object]]:
        """Wait for messages and return one of each worker that has sent some; a worker's death is an error."""
        ready = wait([worker.connection for worker in self._workers])
        received: list[tuple[_Worker, object]] = []
        for worker in self._workers:
            if worker.connection in ready:
                try:
                    received.append((worker, worker.connection.recv()))
                except (EOFError, OSError):
                    self._lose(worker)
        return received

    def _lose(self, worker: _Worker) -> NoReturn:
        worker.process.join(_FAREWELL_S)
        name = f"the worker on {worker.device} (process {worker.process.pid})"
        reason = (
            f"{name} {_ending(worker.process.exitcode)}, and with it the encoder: load it again. SIGKILL mostly means "
            "that memory ran out; an end at the start, that the program lacks `if __name__ == '__main__':`"
        )
        self._shut(reason)
        raise BackendError(reason)

    def _shut(self, reason: str) -> None:
        """Close the pipes, at which the workers end themselves; kill those that do not."""
        self._closed = self._closed or reason
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.connection.close()
        deadline = time.monotonic() + _FAREWELL_S
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _ending(code: int | None) -> str:
    if code is None:
        return "lost its pipe"
    if code >= 0:
        return f"ended with code {code}"
    known = {one.value: one.name for one in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"


def _part_of(tokens: Tokens, rows: NDArray[np.int64]) -> Tokens:
    """Return the token ids of some rows alone, end to end."""
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(tokens.lengths[rows], out=offsets[1:])
    return dataclasses.replace(tokens, ids=np.concatenate(tokens.rows(rows)), offsets=offsets, cut=0)


def _rebuilt(failure: Failure, worker: _Worker) -> ReasonEmbedError:
    """Return a worker's error: our own kinds as they were, any other as a BackendError with its traceback."""
    for kind in (InputError, ModelError, BackendError):
        if failure.kind == kind.__name__:
            return kind(f"{failure.message} (in the worker on {worker.device})")
    return BackendError(f"the worker on {worker.device} failed: {failure.kind}: {failure.message}\n{failure.trace}")
