"""Run packs on several devices, one worker process per device, fed from one queue; failures are reported at once.

The queue stays in the parent, which sends a worker its next pack when it gets a result: a killed worker cannot hold a
lock, and faster devices get more packs. A pipe connects the parent to each worker; either detects the other's death by
the end of the pipe.
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

from reasonembed_rag.encoder.worker_process import Failure, Pack, Ready, Vectors, build_local, run_worker
from reasonembed_rag.errors import BackendError, InputError, ModelError, OutageError, ReasonEmbedError
from reasonembed_rag.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import EncoderSettings, RowVectors, Tokens
    from reasonembed_rag.encoder.engines import ModelDescription
    from reasonembed_rag.encoder.worker_process import Build

__all__ = ["WorkerEngine"]

_PACKS_PER_WORKER = 2
"""Packs sent to a worker at a time: one to compute, one waiting."""
_SHUTDOWN_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class _Worker:
    device: str
    process: SpawnProcess
    connection: Connection


class WorkerEngine:
    """Compute on several devices, each in a process that loads the model once and keeps it until close.

    start() or the first run starts the processes. One call runs at a time; an error in a worker ends the call and
    leaves the engine usable, the death of a worker closes it. Programs that start workers need multiprocessing's usual
    `if __name__ == "__main__":` guard. A forked child starts workers of its own.
    """

    def __init__(self, settings: EncoderSettings, *, devices: Sequence[str], build: Build = build_local) -> None:
        self._settings = settings
        self._devices = tuple(devices)
        self._build = build
        self._workers: list[_Worker] = []
        self._description: ModelDescription | None = None
        self._closed: str | None = None
        """Why the engine is closed."""
        self._call = 0
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Leave the parent its workers, also when the child exits; its own start at the next call."""
        children: set[object] = getattr(multiprocessing.process, "_children", set())
        children.difference_update(worker.process for worker in self._workers)  # which an exit would terminate
        for worker in self._workers:
            worker.connection.close()  # else the parent's close would not reach them
        self._workers, self._description = [], None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> ModelDescription:
        """Start the workers unless they run, wait until all have loaded the model, and return its description.

        Raises what loading the model raises, OutageError for a worker that dies, and InputError for devices that give
        different vectors, as they may with dtype="auto".
        """
        if self._closed is not None:
            raise OutageError(self._closed)
        if self._description is None:
            try:
                self._description = self._launch()
            except BaseException as error:
                self._shut_down(f"the workers did not start: {error}")
                raise
        return self._description

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield the vectors of each pack as they are computed, in any order.

        Raises the error of a worker, OutageError if one dies or the engine is closed. A later run ends this one.
        """
        from reasonembed_rag.backbone import RowVectors

        self.start()
        self._call += 1
        call = self._call
        waiting = deque(number for number, rows in enumerate(packs) if len(rows))
        left = len(waiting)

        def feed(worker: _Worker) -> None:
            if waiting:
                number = waiting.popleft()
                self._send(worker, Pack(call, number, _subset(tokens, packs[number]), adapter))

        for worker in self._workers * _PACKS_PER_WORKER:
            feed(worker)
        while left:
            for worker, message in self._receive():
                if isinstance(message, Failure) and message.call == call:
                    raise _error_of(message, worker)
                if not isinstance(message, Vectors) or message.call != call:
                    continue  # of an earlier call, which failed or was abandoned
                feed(worker)
                left -= 1
                yield RowVectors(packs[message.number], message.vectors)
                if self._call != call:
                    raise BackendError(
                        "a later call has started on this engine; want the results of one call before the next"
                    )

    def close(self) -> None:
        """Stop the workers; a closed engine cannot run."""
        self._shut_down("the encoder is closed; load it again to continue")

    def _launch(self) -> ModelDescription:
        if multiprocessing.current_process().daemon:
            raise BackendError(
                "this is a daemonic process, such as a worker of multiprocessing.Pool, and may not start processes for "
                f"{', '.join(self._devices)}; want one device here, or a process that is not daemonic"
            )
        context = multiprocessing.get_context("spawn")
        for device in self._devices:
            parent_end, worker_end = context.Pipe()
            process = context.Process(
                target=run_worker,
                args=(worker_end, self._settings, device, len(self._devices), self._build),
                name=f"reasonembed-worker-{device}",
                daemon=True,
            )
            process.start()
            self._workers.append(_Worker(device, process, parent_end))
            worker_end.close()
        descriptions: dict[int, ModelDescription] = {}
        while len(descriptions) < len(self._workers):
            for worker, message in self._receive():
                if isinstance(message, Failure):
                    raise _error_of(message, worker)
                if isinstance(message, Ready):
                    descriptions[self._workers.index(worker)] = message.description
        return self._common(descriptions)

    def _common(self, descriptions: Mapping[int, ModelDescription]) -> ModelDescription:
        for number, device in enumerate(self._devices):
            if descriptions[number].spec != descriptions[0].spec:
                raise InputError(
                    f"{self._devices[0]} and {device} give different vectors: {descriptions[0].spec.to_json()} and "
                    f"{descriptions[number].spec.to_json()}; want a dtype that both support instead of 'auto'"
                )
        return descriptions[0]

    def _send(self, worker: _Worker, message: object) -> None:
        try:
            worker.connection.send(message)
        except OSError:
            self._fail(worker)

    def _receive(self) -> list[tuple[_Worker, object]]:
        """Wait for messages and return one per worker that has sent any; raises OutageError if a worker has died."""
        ready = wait([worker.connection for worker in self._workers])
        received: list[tuple[_Worker, object]] = []
        for worker in self._workers:
            if worker.connection in ready:
                try:
                    received.append((worker, worker.connection.recv()))
                except (EOFError, OSError):
                    self._fail(worker)
        return received

    def _fail(self, worker: _Worker) -> NoReturn:
        worker.process.join(_SHUTDOWN_S)
        name = f"the worker on {worker.device} (process {worker.process.pid})"
        reason = (
            f"{name} {_exit_of(worker.process.exitcode)}, which closes the encoder; load it again. SIGKILL usually "
            "means out of memory; an exit during start, that the program lacks `if __name__ == '__main__':`"
        )
        self._shut_down(reason)
        raise OutageError(reason)

    def _shut_down(self, reason: str) -> None:
        """Close the pipes, so that the workers exit; kill those that do not."""
        self._closed = self._closed or reason
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.connection.close()
        deadline = time.monotonic() + _SHUTDOWN_S
        for worker in workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _exit_of(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"exited with code {code}"
    known = {one.value: one.name for one in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"


def _subset(tokens: Tokens, rows: NDArray[np.int64]) -> Tokens:
    """Return the tokens of some rows."""
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(tokens.lengths[rows], out=offsets[1:])
    return dataclasses.replace(
        tokens, ids=np.concatenate(tokens.rows(rows)), offsets=offsets, truncated=0, unread=0, unknown=0
    )


def _error_of(failure: Failure, worker: _Worker) -> ReasonEmbedError:
    """Return the error of a worker: one of our classes unchanged, any other as a BackendError with its traceback."""
    for kind in (InputError, ModelError, BackendError):
        if failure.kind == kind.__name__:
            return kind(f"{failure.message} (in the worker on {worker.device})")
    return BackendError(f"the worker on {worker.device} failed: {failure.kind}: {failure.message}\n{failure.trace}")
