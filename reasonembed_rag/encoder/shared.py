"""Encoders shared by everything in a process that asks for the same settings."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from reasonembed_rag.backbone import CACHE_BYTES, EncoderSettings
from reasonembed_rag.encoder.splitting import passage_splitter, splitter_by_settings
from reasonembed_rag.errors import InputError
from reasonembed_rag.forks import ForkLock, renew_in_child
from reasonembed_rag.protocols import AdapterEmbedder, AsyncEmbedder, Embedder
from reasonembed_rag.spec import EmbeddingSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.passages import PassageSplitter

__all__ = ["CACHE_BYTES", "EncoderSettings", "SharedEncoder", "share_embedder", "shared_encoder"]

_Result = TypeVar("_Result")


class SharedEncoder:
    """An embedder that is loaded at its first use, for threads and event loops alike.

    It serves any Embedder. Those without async methods are run in one worker thread; an adapter can be chosen per call
    where the embedder is an AdapterEmbedder.
    """

    def __init__(self, load: Callable[[], Embedder], *, settings: EncoderSettings | None = None) -> None:
        self._load = load
        self._settings = settings
        self._embedder: Embedder | None = None
        self._lock = ForkLock()
        self.renew_after_fork()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Replace the worker thread, which a forked child does not have."""
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reasonembed")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings only; where they are read, the encoder of that process is taken, or loaded."""
        names = [name for name, shared in _by_name.items() if shared is self]
        settings = EncoderSettings(model=names[0]) if names else self._settings
        if settings is None:
            raise InputError(
                "an encoder around an embedder of yours cannot be pickled; pickle that one, or its settings"
            )
        return shared_encoder, (settings,)

    @property
    def embedder(self) -> Embedder:
        """The embedder, loaded if it was not yet."""
        with self._lock:
            if self._embedder is None:
                self._embedder = self._load()
            return self._embedder

    @property
    def is_loaded(self) -> bool:
        """Whether the embedder was loaded already."""
        return self._embedder is not None

    def release(self) -> None:
        """Close the embedder, such as one whose worker process died; the next use loads it again.

        Raises InputError for an embedder of yours, which is not loaded here.
        """
        if self._settings is None:
            raise InputError("an embedder of yours cannot be loaded again; close it yourself")
        with self._lock:
            loaded, self._embedder = self._embedder, None
        if loaded is not None:
            loaded.close()  # type: ignore[attr-defined]  # an Encoder or a RemoteEncoder

    @property
    def spec(self) -> EmbeddingSpec:
        """The spec of the vectors; loads the model."""
        return self.embedder.spec

    @property
    def dimension(self) -> int:
        """The length of every vector; loads the model."""
        return self.embedder.dimension

    def with_adapter(self, name: str | None) -> Embedder:
        """Return the embedder with another adapter of its model; raises InputError where it has none to choose from."""
        if name is None:
            return self.embedder
        if not isinstance(self.embedder, AdapterEmbedder):
            raise InputError(f"{self.spec.model} has no adapters to choose from; leave adapter out")
        return self.embedder.with_adapter(name)

    def passage_splitter(self, *, tokens: int | None = None, overlap: int = 0) -> PassageSplitter:
        """Return a splitter into passages that the model reads whole, without loading a local model's weights."""
        if self._embedder is None and self._settings is not None and self._settings.base_url is None:
            return splitter_by_settings(self._settings, tokens=tokens, overlap=overlap)
        return passage_splitter(self.embedder, tokens=tokens, overlap=overlap)

    def encode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order; (dimension,) for a single string."""
        embedder = self.with_adapter(adapter)
        several = [texts] if isinstance(texts, str) else texts
        vectors = embedder.encode_queries(several, task=task, instruction=instruction, show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    def encode_documents(
        self, texts: str | Sequence[str], *, adapter: str | None = None, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order; (dimension,) for a single string."""
        embedder = self.with_adapter(adapter)
        several = [texts] if isinstance(texts, str) else texts
        vectors = embedder.encode_documents(several, show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
    ) -> NDArray[np.float32]:
        """Return what encode_queries returns, without blocking the event loop, loading included.

        Concurrent calls share forward passes where the embedder has async methods, and queue where it has none.
        """
        if isinstance(texts, str):
            return (await self.aencode_queries([texts], task=task, instruction=instruction, adapter=adapter)).squeeze(0)
        embedder = await self._loaded(adapter)
        if isinstance(embedder, AsyncEmbedder):
            return await embedder.aencode_queries(texts, task=task, instruction=instruction)
        encode = functools.partial(embedder.encode_queries, texts, task=task, instruction=instruction)
        return await self._off_loop(encode)

    async def aencode_documents(self, texts: str | Sequence[str], *, adapter: str | None = None) -> NDArray[np.float32]:
        """Return what encode_documents returns, without blocking the event loop, loading included."""
        if isinstance(texts, str):
            return (await self.aencode_documents([texts], adapter=adapter)).squeeze(0)
        embedder = await self._loaded(adapter)
        if isinstance(embedder, AsyncEmbedder):
            return await embedder.aencode_documents(texts)
        return await self._off_loop(functools.partial(embedder.encode_documents, texts))

    async def _loaded(self, adapter: str | None) -> Embedder:
        if self._embedder is None:
            return await self._off_loop(functools.partial(self.with_adapter, adapter))
        return self.with_adapter(adapter)

    async def _off_loop(self, function: Callable[[], _Result]) -> _Result:
        """Run a function in the worker thread: callers queue, so that an embedder never runs twice at once."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function)


_encoders: dict[EncoderSettings, SharedEncoder] = {}
_by_name: dict[str, SharedEncoder] = {}
_lock = ForkLock()


def shared_encoder(settings: EncoderSettings) -> SharedEncoder:
    """Return the encoder of these settings, the same object for equal settings in a process; nothing is loaded yet.

    Settings with a base_url give the RemoteEncoder of that server; those that name a shared embedder give that one.
    Raises InputError for the name of a shared embedder, which is loaded already, with other settings.
    """
    with _lock:
        if settings.model in _by_name:
            if settings != EncoderSettings(model=settings.model):
                raise InputError(
                    f"{settings.model!r} is a shared embedder, loaded already; leave its other settings out"
                )
            return _by_name[settings.model]
        found = _encoders.get(settings)
        if found is None:
            found = _encoders[settings] = SharedEncoder(functools.partial(_load, settings), settings=settings)
        return found


def share_embedder(name: str, embedder: Embedder) -> None:
    """Let this process find an embedder of yours by name, wherever it takes the name of a model."""
    with _lock:
        _by_name[name] = SharedEncoder(lambda: embedder)


def _load(settings: EncoderSettings) -> Embedder:
    if settings.base_url is not None and isinstance(settings.server_spec, EmbeddingSpec):
        from reasonembed_rag.encoder.remote import RemoteEncoder

        return RemoteEncoder(
            settings.base_url,
            settings.model,
            settings.server_spec,
            api_key=settings.api_key,
            tokenizer=settings.tokenizer,
        )
    from reasonembed_rag.encoder.encoder import Encoder

    return Encoder.from_settings(settings)
