"""Encoder: the public face of the engine."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np

from reasonembed_rag.backbone import EncoderSettings, LoadedModel, load_model
from reasonembed_rag.encoder.batching import distinct, plan_packs
from reasonembed_rag.encoder.cache import VectorCache, cached, shared_cache, vector_keys
from reasonembed_rag.encoder.coalescer import Coalescer
from reasonembed_rag.encoder.gradients import load_gradients
from reasonembed_rag.encoder.local import LocalEngine
from reasonembed_rag.encoder.progress import progress_bar
from reasonembed_rag.encoder.truncation import report_truncation
from reasonembed_rag.errors import BackendError, InputError
from reasonembed_rag.files import check_texts
from reasonembed_rag.tasks import query_affixes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Tokens
    from reasonembed_rag.encoder.gradients import TokenGradients
    from reasonembed_rag.encoder.local import Engine, RowVectors
    from reasonembed_rag.encoder.worker_process import Described
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Encoder"]

_CPU_BUDGET = 2048
"""Tokens per pack on CPUs: enough to keep the cores busy, few enough to fit their caches."""
_GPU_BUDGET = 32768
_WINDOW = 8192
"""Texts planned at once: long enough to sort well, short enough that their tokens take little memory."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Work:
    """What one call asks: role and all that its vectors depend on beside their texts; the key by which calls join."""

    role: Literal["query", "document"]
    affixes: tuple[str, str]
    adapter: str | None


@dataclasses.dataclass(slots=True)
class _Tally:
    """What an encoder and those with its adapters on count together."""

    tokens: int = 0


class Encoder:
    """Turn queries and documents into vectors with one model.

    Build it with from_pretrained; close it, or use it in a `with` block, to give back its memory and its processes.
    Threads may share an encoder: calls take turns.
    """

    def __init__(
        self, model: LoadedModel | Described, engine: Engine, *, token_budget: int, cache: VectorCache | None = None
    ) -> None:
        self._spec = model.spec
        self._adapter: str | None = None
        self._adapter_specs = dict(model.adapter_specs)
        self._tokenizer = model.tokenizer
        self._engine = engine
        self._device = str(model.backbone.device) if isinstance(model, LoadedModel) else None
        self._cache = cache
        self._budget = token_budget
        self._tally = _Tally()
        self._lock = threading.Lock()
        self._coalescer = Coalescer(self._run_joined)
        self._family: dict[str | None, Encoder] = {None: self}
        """This encoder with each adapter that was asked for on: they share all else."""

    @classmethod
    def from_pretrained(  # noqa: PLR0913 - the one door: each setting is a question users ask
        cls,
        name_or_path: str | os.PathLike[str] = "default",
        *,
        revision: str | None = None,
        adapter: str | os.PathLike[str] | Mapping[str, str] | None = None,
        device: str | Sequence[str] | None = None,
        dtype: str = "auto",
        max_query_length: int | None = None,
        max_document_length: int | None = None,
        truncate_dim: int | None = None,
        token_budget: int | None = None,
        cache: VectorCache | None = None,
    ) -> Encoder:
        """Load a model: "default", an alias, a folder in transformers' or sentence-transformers' layout, or a hub id.

        adapter is one LoRA folder or hub id, merged for speed, or a mapping of names to them, to be chosen from call by
        call. device is one device or several ("cuda:0", "cuda:1"): each gets a process that holds the model until
        close. dtype is auto, float32, bfloat16, float16 or int8; lengths are in tokens, template and special tokens
        included; truncate_dim keeps the first numbers of each vector (Matryoshka); token_budget bounds the tokens, and
        so the memory, of one forward; cache keeps vectors on disk. Raises ModelError for a model that cannot be loaded,
        InputError for settings it cannot serve.
        """
        settings = EncoderSettings(
            model=cast("str", name_or_path),  # the settings turn paths into text
            revision=revision,
            adapter=None if isinstance(adapter, Mapping) else cast("str | None", adapter),
            adapters=adapter if isinstance(adapter, Mapping) else {},
            device=device,
            dtype=dtype,
            max_query_length=max_query_length,
            max_document_length=max_document_length,
            truncate_dim=truncate_dim,
            token_budget=token_budget,
        )
        _check_cache(cache)
        return cls._load(settings, cache)

    @classmethod
    def from_settings(cls, settings: EncoderSettings) -> Encoder:
        """Load the model that settings describe; equal settings load it anew: shared_encoder shares one.

        Raises ModelError for a model that cannot be loaded, InputError for settings it cannot serve and for those of a
        server, which RemoteEncoder and shared_encoder are for.
        """
        if settings.base_url is not None:
            raise InputError(
                f"{settings.base_url} holds the model {settings.model}; want shared_encoder(settings) or RemoteEncoder"
            )
        cache = None if settings.cache is None else shared_cache(os.fspath(settings.cache), settings.cache_bytes)
        return cls._load(settings, cache)

    @classmethod
    def _load(cls, settings: EncoderSettings, cache: VectorCache | None) -> Encoder:
        device, budget = settings.device, settings.token_budget
        if device is None or isinstance(device, str):
            loaded = load_model(settings)
            budget = budget or _default_budget(loaded.backbone.device.type)
            return cls(loaded, LocalEngine(loaded), token_budget=budget, cache=cache)
        from reasonembed_rag.encoder.workers import WorkerEngine

        workers = WorkerEngine(settings, devices=device)
        return cls(workers.start(), workers, token_budget=budget or _default_budget(device[0]), cache=cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""
        return self._spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._spec.dimension

    @property
    def tokens_encoded(self) -> int:
        """The tokens computed so far, template and special tokens included; what a cache held is not among them."""
        return self._tally.tokens

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that calls may choose from."""
        return tuple(self._adapter_specs)

    def with_adapter(self, name: str | None) -> Encoder:
        """Return this encoder with an adapter on (None: with none), sharing memory, counts and close with this one.

        Raises InputError for a name that from_pretrained was not given.
        """
        if name in self._family:
            return self._family[name]
        if name is None or name not in self._adapter_specs:
            raise InputError(
                f"unknown adapter {name!r}; want one of {', '.join(self.adapters) or 'none'}: "
                "give from_pretrained a mapping of names to folders"
            )
        twin = object.__new__(Encoder)
        twin.__dict__.update(self.__dict__)
        twin._adapter, twin._spec = name, self._adapter_specs[name]
        return self._family.setdefault(name, twin)

    def token_gradients(self) -> TokenGradients:
        """Return this encoder's documents seen token by token, with gradients: what an attack on it starts from.

        The weights are loaded once more, for as long as the view lives. Raises InputError for int8 and for an encoder
        on several devices, ModelError where the model's files have changed.
        """
        if self._device is None:
            raise InputError("an encoder on several devices gives no gradients; want one device: device='cpu'")
        if self._spec.dtype == "int8":
            raise InputError("int8 weights give no gradients; want dtype='float32' or 'bfloat16'")
        return load_gradients(self._spec, device=self._device, run=self._encode_tokens)

    def encode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order; (dimension,) for a single string.

        task names a card whose instruction is put before each query; instruction gives the words themselves. A model
        that takes no instruction ignores the task and refuses an instruction. adapter names one of those loaded. Raises
        InputError for a query that is empty or not a string, UnknownTaskError for an unknown task.
        """
        if adapter is not None:
            return self.with_adapter(adapter).encode_queries(
                texts, task=task, instruction=instruction, show_progress=show_progress
            )
        work = self._query_work(task, instruction)
        queries = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=False)
        vectors = self._encode(queries, work, show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    def encode_documents(
        self, texts: str | Sequence[str], *, adapter: str | None = None, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order; (dimension,) for a single string.

        Raises InputError for a document that is not a string.
        """
        if adapter is not None:
            return self.with_adapter(adapter).encode_documents(texts, show_progress=show_progress)
        documents = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=True)
        vectors = self._encode(documents, self._document_work(), show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
    ) -> NDArray[np.float32]:
        """Return what encode_queries returns, without blocking the event loop; concurrent calls share forwards."""
        if adapter is not None:
            return await self.with_adapter(adapter).aencode_queries(texts, task=task, instruction=instruction)
        work = self._query_work(task, instruction)
        queries = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=False)
        vectors = await self._submit(queries, work)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_documents(self, texts: str | Sequence[str], *, adapter: str | None = None) -> NDArray[np.float32]:
        """Return what encode_documents returns, without blocking the event loop; concurrent calls share forwards."""
        if adapter is not None:
            return await self.with_adapter(adapter).aencode_documents(texts)
        documents = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=True)
        vectors = await self._submit(documents, self._document_work())
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    def close(self) -> None:
        """Give back the model's memory and processes; later calls raise BackendError."""
        self._coalescer.close()
        with self._lock:
            self._engine.close()

    def _query_work(self, task: str | None, instruction: str | None) -> _Work:
        affixes = query_affixes(self._spec, task=task, instruction=instruction)
        return _Work("query", affixes, self._adapter)

    def _document_work(self) -> _Work:
        return _Work("document", self._spec.document_affixes(), self._adapter)

    async def _submit(self, texts: list[str], work: _Work) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return await self._coalescer.encode(texts, work)

    def _run_joined(self, texts: list[str], key: Hashable) -> NDArray[np.float32]:
        if not isinstance(key, _Work):
            raise TypeError(f"want _Work, got {type(key).__name__}")
        return self.with_adapter(key.adapter)._encode(texts, key, show_progress=False)  # noqa: SLF001 - one of the family

    def _encode(self, texts: list[str], work: _Work, *, show_progress: bool) -> NDArray[np.float32]:
        if self._cache is None or not texts:
            return self._encode_all(texts, work, show_progress=show_progress)
        keys = vector_keys(self._spec, texts, role=work.role, affixes=work.affixes)
        return cached(
            texts,
            self._cache,
            keys,
            lambda missing: self._encode_all(missing, work, show_progress=show_progress),
            dimension=self.dimension,
        )

    def _encode_all(self, texts: list[str], work: _Work, *, show_progress: bool) -> NDArray[np.float32]:
        unique = distinct(texts)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        truncated = 0
        with self._lock, progress_bar(total=len(unique.first), unit="texts", show=show_progress) as advance:
            for start, tokens in self._windows([texts[row] for row in unique.first], work):
                for part in self._run(tokens):
                    vectors[unique.first[start + part.rows]] = part.vectors
                    advance(len(part.rows))
                truncated += tokens.cut
                self._tally.tokens += int(tokens.lengths.sum())
        report_truncation(truncated, texts=len(unique.first), max_length=self._max_length(work))
        source = unique.first[unique.inverse]
        repeats = np.flatnonzero(source != np.arange(len(texts)))
        vectors[repeats] = vectors[source[repeats]]
        return vectors

    def _encode_tokens(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return the vectors (n, dimension) of texts that are tokenised already, past the cache."""
        vectors = np.empty((len(tokens.lengths), self.dimension), dtype=np.float32)
        with self._lock:
            for part in self._run(tokens):
                vectors[part.rows] = part.vectors
            self._tally.tokens += int(tokens.lengths.sum())
        return vectors

    def _windows(self, texts: list[str], work: _Work) -> Iterator[tuple[int, Tokens]]:
        """Yield the tokens of a window of texts while the next window is being tokenised."""

        def tokenize(start: int) -> Tokens:
            before, after = work.affixes
            window = texts[start : start + _WINDOW]
            return self._tokenizer(window, before=before, after=after, max_length=self._max_length(work))

        starts = range(0, len(texts), _WINDOW)
        if len(starts) == 1:
            yield 0, tokenize(0)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="reasonembed-tokenizer") as pool:
            ahead = pool.submit(tokenize, 0) if texts else None
            for start in starts:
                tokens = ahead.result() if ahead is not None else tokenize(start)
                ahead = pool.submit(tokenize, start + _WINDOW) if start + _WINDOW < len(texts) else None
                yield start, tokens

    def _run(self, tokens: Tokens) -> Iterator[RowVectors]:
        packs = plan_packs(tokens.lengths - tokens.shared, budget=self._budget)
        for part in self._engine.run(tokens, packs, adapter=self._adapter):
            if not np.isfinite(part.vectors).all():
                raise BackendError(
                    f"{self._spec.model} gave vectors that are not finite in {self._spec.dtype}; "
                    "the weights are damaged or overflow: check the files, or load with dtype='float32'"
                )
            yield part

    def _max_length(self, work: _Work) -> int:
        return self._spec.max_query_length if work.role == "query" else self._spec.max_document_length


def _default_budget(device: str) -> int:
    return _GPU_BUDGET if device.startswith("cuda") else _CPU_BUDGET


def _check_cache(cache: Any) -> None:
    if cache is not None and not isinstance(cache, VectorCache):
        raise InputError(f"cache is {cache!r}; want VectorCache(folder, max_bytes=...)")
