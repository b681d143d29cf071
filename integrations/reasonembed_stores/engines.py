"""Embedding models shared by everything in a process that names the same one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.embedder import Embedder
from reasonembed_rag.errors import InputError
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Engine", "ModelChoice", "get_engine", "share_embedder"]

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model, loaded how: the arguments of Encoder.from_pretrained."""

    model: str = "default"
    revision: str | None = None
    adapter: str | None = None
    device: str | None = None
    dtype: str = "auto"
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None

    def load(self) -> Embedder:
        """Load the model; raises ModelError or InputError as Encoder.from_pretrained does."""
        from reasonembed_rag.encoder import Encoder

        return Encoder.from_pretrained(
            self.model,
            revision=self.revision,
            adapter=self.adapter,
            device=self.device,
            dtype=self.dtype,
            max_query_length=self.max_query_length,
            max_document_length=self.max_document_length,
            truncate_dim=self.truncate_dim,
        )


class Engine:
    """One embedding model, loaded at its first use; it may be asked from threads and from event loops."""

    def __init__(self, load: Callable[[], Embedder]) -> None:
        self._load = load
        self._lock = Lock()
        self._embedder: Embedder | None = None
        self._worker: ThreadPoolExecutor | None = None

    @property
    def embedder(self) -> Embedder:
        """The model, loaded now if it was not yet."""
        with self._lock:
            if self._embedder is None:
                self._embedder = self._load()
            return self._embedder

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""
        return self.embedder.spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self.embedder.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order.

        adapter answers with another adapter of the same model. Raises InputError where the model has none to choose.
        """
        arguments: dict[str, Any] = {"task": task, "instruction": instruction, "show_progress": show_progress}
        if adapter is not None:
            arguments["adapter"] = adapter
        vectors: NDArray[np.float32] = self.embedder.encode_queries(texts, **arguments)
        return vectors

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order."""
        return self.embedder.encode_documents(texts, show_progress=show_progress)

    async def aencode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
    ) -> NDArray[np.float32]:
        """Encode queries off the event loop; calls that come together share batches where the model offers it."""
        arguments: dict[str, Any] = {"task": task, "instruction": instruction}
        if adapter is not None:
            arguments["adapter"] = adapter
        return await self._run("queries", texts, arguments)

    async def aencode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode documents off the event loop; calls that come together share batches where the model offers it."""
        return await self._run("documents", texts, {})

    async def _run(self, kind: str, texts: Sequence[str], arguments: dict[str, Any]) -> NDArray[np.float32]:
        embedder = self._embedder or await self._off_loop(lambda: self.embedder)
        vectors: NDArray[np.float32]
        if hasattr(embedder, f"aencode_{kind}"):
            vectors = await getattr(embedder, f"aencode_{kind}")(texts, **arguments)
        else:
            vectors = await self._off_loop(functools.partial(getattr(embedder, f"encode_{kind}"), texts, **arguments))
        return vectors

    async def _off_loop(self, function: Callable[[], _Result]) -> _Result:
        """Run on this engine's one thread: callers queue, and the model never runs twice at once."""
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reasonembed")
        return await asyncio.get_running_loop().run_in_executor(self._worker, function)


_ENGINES: dict[ModelChoice, Engine] = {}
_SHARED: dict[str, Engine] = {}
_LOCK = Lock()


def get_engine(choice: ModelChoice) -> Engine:
    """Return the engine of a model, the same one for every caller in the process; nothing is loaded yet.

    Raises InputError for settings beside the name of a shared embedder, which is loaded already.
    """
    with _LOCK:
        if choice.model in _SHARED:
            if choice != ModelChoice(model=choice.model):
                raise InputError(f"{choice.model!r} is a shared embedder, loaded already; leave its other settings out")
            return _SHARED[choice.model]
        return _ENGINES.setdefault(choice, Engine(choice.load))


def share_embedder(name: str, embedder: Embedder) -> None:
    """Let an embedder of your own be found by name, wherever this process takes the name of a model."""
    with _LOCK:
        _SHARED[name] = Engine(lambda: embedder)
