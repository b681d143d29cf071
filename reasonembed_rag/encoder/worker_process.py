"""A worker process, which holds a model on one device, and the messages between it and its parent."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from reasonembed_rag.encoder.engines import load_engine
from reasonembed_rag.errors import BackendError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import EncoderSettings, Engine, Tokens
    from reasonembed_rag.encoder.engines import LoadedEngine, ModelDescription

    Build: TypeAlias = Callable[["EncoderSettings", str, int], "LoadedEngine"]

__all__ = ["Failure", "Pack", "Ready", "Vectors", "build_local", "run_worker"]

_PARENT_CHECK_S = 1.0


def build_local(settings: EncoderSettings, device: str, sharing: int) -> LoadedEngine:
    """Load the model on one device in this process; `sharing` workers divide the cores among them."""
    loaded = load_engine(dataclasses.replace(settings, device=device), sharing=sharing)
    return dataclasses.replace(loaded, description=dataclasses.replace(loaded.description, device=None))


@dataclass(frozen=True, slots=True)
class Pack:
    """Parent to worker: token ids of texts to compute."""

    call: int
    number: int
    tokens: Tokens
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to parent: the model is loaded."""

    description: ModelDescription


@dataclass(frozen=True, slots=True)
class Vectors:
    """Worker to parent: the vectors (n, D) of a pack."""

    call: int
    number: int
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Failure:
    """Worker to parent: an error as text, since not every error can be pickled."""

    call: int
    kind: str
    message: str
    trace: str


class _PackReader:
    """Packs from the parent; a reader thread drains the pipe so that the parent's sends never block."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._packs: SimpleQueue[Pack] = SimpleQueue()
        self._parent = os.getppid()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> Pack:
        """Return the next pack, waiting for it."""
        return self._packs.get()

    def _read(self) -> None:
        """Read messages until the parent closes the pipe or dies; then end this process, whatever it is doing.

        Children that the parent forked keep its end of the pipe open after its death: hence the check of its pid.
        """
        try:
            while self._connection.poll(_PARENT_CHECK_S) or os.getppid() == self._parent:
                if self._connection.poll():
                    self._packs.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(0)
        finally:
            os._exit(1)


def run_worker(connection: Connection, settings: EncoderSettings, device: str, sharing: int, build: Build) -> None:
    """Run as a worker: load the model, then compute packs until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    reader = _PackReader(connection)
    with suppress(OSError):  # a failed send means that the parent is gone
        try:
            model = build(settings, device, sharing)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            connection.send(_failure(0, error))
            return
        connection.send(Ready(model.description))
        while True:
            pack = reader.next()
            connection.send(_result_of(model.engine, pack))


def _result_of(engine: Engine, pack: Pack) -> Vectors | Failure:
    try:
        return Vectors(pack.call, pack.number, _compute(engine, pack))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return _failure(pack.call, error)


def _compute(engine: Engine, pack: Pack) -> NDArray[np.float32]:
    rows = np.arange(len(pack.tokens.lengths), dtype=np.int64)
    parts = list(engine.run(pack.tokens, [rows], adapter=pack.adapter))
    done = np.concatenate([part.rows for part in parts])
    vectors: NDArray[np.float32] = np.concatenate([part.vectors for part in parts])
    if not np.array_equal(np.sort(done), rows):
        raise BackendError(f"{len(rows)} texts gave {len(done)} vectors; want one per text")
    return vectors[np.argsort(done)]


def _failure(call: int, error: Exception) -> Failure:
    return Failure(call, type(error).__name__, str(error), "".join(traceback.format_exception(error)))
