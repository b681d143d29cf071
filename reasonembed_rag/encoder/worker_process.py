"""One worker: the process that holds a model on a device, and what it and its parent say to each other."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from reasonembed_rag.errors import BackendError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import EncoderSettings, TextTokenizer, Tokens
    from reasonembed_rag.encoder.local import Engine
    from reasonembed_rag.spec import EmbeddingSpec

    Build: TypeAlias = Callable[["EncoderSettings", str, int], "Served"]

__all__ = ["Described", "Failure", "Pack", "Ready", "Served", "Vectors", "build_local", "work"]

_PARENT_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Described:
    """What the parent must know of the model that its workers hold, so that it need not load it itself."""

    spec: EmbeddingSpec
    tokenizer: TextTokenizer
    adapter_specs: Mapping[str, EmbeddingSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """What a worker holds."""

    engine: Engine
    described: Described


def build_local(settings: EncoderSettings, device: str, sharing: int) -> Served:
    """Load the model on one device, in this process; `sharing` workers split the cores among them."""
    import torch

    from reasonembed_rag.backbone import load_model
    from reasonembed_rag.encoder.local import LocalEngine

    torch.set_num_threads(max(1, torch.get_num_threads() // sharing))
    loaded = load_model(dataclasses.replace(settings, device=device))
    return Served(LocalEngine(loaded), Described(loaded.spec, loaded.tokenizer, loaded.adapter_specs))


@dataclass(frozen=True, slots=True)
class Pack:
    """Parent to worker: texts to compute, their token ids alone."""

    call: int
    number: int
    tokens: Tokens
    adapter: str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to parent: the model is loaded."""

    described: Described


@dataclass(frozen=True, slots=True)
class Vectors:
    """Worker to parent: the vectors (n, D) of a pack."""

    call: int
    number: int
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Failure:
    """Worker to parent: an error, in words, as not every error can be sent."""

    call: int
    kind: str
    message: str
    trace: str


class _Inbox:
    """What a worker has been sent, read by a thread of its own: so that the parent never waits to be heard."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._packs: SimpleQueue[Pack] = SimpleQueue()
        self._parent = os.getppid()
        threading.Thread(target=self._listen, daemon=True).start()

    def next(self) -> Pack:
        """Return the next pack, waiting for it."""
        return self._packs.get()

    def _listen(self) -> None:
        """Read messages until the parent closes the pipe or dies; then end this process, whatever it is doing.

        A parent that forks leaves copies of its pipe behind, which stay open after its death: hence the second look.
        """
        try:
            while self._connection.poll(_PARENT_CHECK_S) or os.getppid() == self._parent:
                if self._connection.poll():
                    self._packs.put(self._connection.recv())
        except (EOFError, OSError):
            os._exit(0)
        finally:
            os._exit(1)


def work(connection: Connection, settings: EncoderSettings, device: str, sharing: int, build: Build) -> None:
    """Be a worker: load the model, then compute packs until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    inbox = _Inbox(connection)
    with suppress(OSError):  # a send that fails: the parent is gone
        try:
            served = build(settings, device, sharing)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            connection.send(_failure(0, error))
            return
        connection.send(Ready(served.described))
        while True:
            pack = inbox.next()
            connection.send(_answer(served.engine, pack))


def _answer(engine: Engine, pack: Pack) -> Vectors | Failure:
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
        raise BackendError(f"{len(rows)} texts gave vectors of {len(done)}; want one a text")
    return vectors[np.argsort(done)]


def _failure(call: int, error: Exception) -> Failure:
    return Failure(call, type(error).__name__, str(error), "".join(traceback.format_exception(error)))
