"""Embedding models shared by everything in a process that names the same one."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    from reasonembed_rag.encoder import VectorCache

__all__ = ["CACHE_BYTES", "Engine", "ModelChoice", "Server", "get_engine", "server_of", "share_embedder"]

CACHE_BYTES = 4 << 30
"""How large a cache of vectors may grow where nothing else is said."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An OpenAI-compatible server of embeddings, and what the model on it is."""

    base_url: str
    spec: EmbeddingSpec
    tokenizer: str | None = None
    api_key: str | None = field(default=None, repr=False)


def server_of(
    base_url: str | None, spec: Mapping[str, Any] | EmbeddingSpec | None, tokenizer: str | None, api_key: str | None
) -> Server | None:
    """Return the server that settings name, if they do; raises InputError for settings that lack their other half."""
    if base_url is None:
        if spec is not None or tokenizer is not None:
            raise InputError("got a server's spec or tokenizer without its base_url; give both or neither")
        return None
    if spec is None:
        raise InputError(
            f"got base_url {base_url!r} without server_spec; want what the server's model is: the fields of its "
            "EmbeddingSpec, as encoder.spec tells them where the model can be loaded once"
        )
    if not isinstance(spec, EmbeddingSpec):
        spec = EmbeddingSpec.from_json(json.dumps(dict(spec)))
    return Server(base_url=base_url, spec=spec, tokenizer=tokenizer, api_key=api_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model, loaded how: the arguments of Encoder.from_pretrained, as values that can be compared."""

    model: str = "default"
    revision: str | None = None
    adapter: str | tuple[tuple[str, str], ...] | None = None
    """One adapter that is always on, or (name, adapter) pairs that calls choose from."""
    device: str | tuple[str, ...] | None = None
    dtype: str = "auto"
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None
    token_budget: int | None = None
    cache: str | None = None
    """The folder of a cache of vectors."""
    cache_bytes: int = CACHE_BYTES
    server: Server | None = None
    """The server that holds the model; what it decides cannot be asked for here."""

    def load(self) -> Embedder:
        """Load the model; raises ModelError or InputError as Encoder.from_pretrained and RemoteEncoder do."""
        if self.server is not None:
            return self._connected(self.server)
        from reasonembed_rag.encoder import Encoder

        return Encoder.from_pretrained(
            self.model,
            revision=self.revision,
            adapter=dict(self.adapter) if isinstance(self.adapter, tuple) else self.adapter,
            device=self.device,
            dtype=self.dtype,
            max_query_length=self.max_query_length,
            max_document_length=self.max_document_length,
            truncate_dim=self.truncate_dim,
            token_budget=self.token_budget,
            cache=None if self.cache is None else _cache(self.cache, self.cache_bytes),
        )

    def _connected(self, server: Server) -> Embedder:
        if self != ModelChoice(model=self.model, server=server):
            raise InputError(
                f"{server.base_url} holds the model already; leave revision, adapter, device, dtype, lengths, "
                "truncate_dim, token_budget and cache out"
            )
        from reasonembed_rag.encoder import RemoteEncoder

        return RemoteEncoder(
            server.base_url, self.model, server.spec, api_key=server.api_key, tokenizer=server.tokenizer
        )


@functools.cache
def _cache(folder: str, max_bytes: int) -> VectorCache:
    """Return the process's one cache of a folder."""
    from reasonembed_rag.encoder import VectorCache

    return VectorCache(folder, max_bytes=max_bytes)


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
        arguments = {"task": task, "instruction": instruction, "show_progress": show_progress} | _chosen(adapter)
        vectors: NDArray[np.float32] = self._call("encode_queries", texts, arguments)
        return vectors

    def encode_documents(
        self, texts: Sequence[str], *, adapter: str | None = None, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order."""
        vectors: NDArray[np.float32] = self._call(
            "encode_documents", texts, {"show_progress": show_progress} | _chosen(adapter)
        )
        return vectors

    async def aencode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
    ) -> NDArray[np.float32]:
        """Encode queries off the event loop; calls that come together share batches where the model offers it."""
        arguments = {"task": task, "instruction": instruction} | _chosen(adapter)
        return await self._run("encode_queries", texts, arguments)

    async def aencode_documents(self, texts: Sequence[str], *, adapter: str | None = None) -> NDArray[np.float32]:
        """Encode documents off the event loop; calls that come together share batches where the model offers it."""
        return await self._run("encode_documents", texts, _chosen(adapter))

    async def _run(self, name: str, texts: Sequence[str], arguments: dict[str, Any]) -> NDArray[np.float32]:
        embedder = self._embedder or await self._off_loop(lambda: self.embedder)
        vectors: NDArray[np.float32]
        if hasattr(embedder, f"a{name}"):
            vectors = await getattr(embedder, f"a{name}")(texts, **arguments)
        else:
            vectors = await self._off_loop(functools.partial(self._call, name, texts, arguments))
        return vectors

    def _call(self, name: str, texts: Sequence[str], arguments: dict[str, Any]) -> Any:
        """Call the embedder; raises InputError for an adapter where it takes none."""
        method = getattr(self.embedder, name)
        if "adapter" in arguments and "adapter" not in inspect.signature(method).parameters:
            raise InputError(f"{self.spec.model} has no adapters to choose from; leave adapter out")
        return method(texts, **arguments)

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


def _chosen(adapter: str | None) -> dict[str, Any]:
    return {} if adapter is None else {"adapter": adapter}
