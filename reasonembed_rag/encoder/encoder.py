"""Encoder: queries and documents to vectors with one model."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.encoder.cache import VectorCache, shared_cache
from reasonembed_rag.encoder.cached_encoding import encode_through_cache, vector_keys
from reasonembed_rag.encoder.coalescer import Coalescer
from reasonembed_rag.encoder.engines import load_engine
from reasonembed_rag.encoder.splitting import splitter_by_tokenizer
from reasonembed_rag.encoder.text_engine import TextCall, TextEngine, TokenCall
from reasonembed_rag.errors import InputError, MissingDependencyError, OutageError, want_one_of
from reasonembed_rag.files import check_texts
from reasonembed_rag.forks import run_in_own_thread
from reasonembed_rag.tasks import query_affixes

if TYPE_CHECKING:
    from collections.abc import Hashable
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import Engine, Tokens
    from reasonembed_rag.encoder.engines import ModelDescription
    from reasonembed_rag.encoder.gradients import EncoderGradients
    from reasonembed_rag.export import ExportDtype, ExportKind
    from reasonembed_rag.passages import PassageSplitter
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Encoder"]

_CPU_BUDGET = 2048
"""Tokens per pack on CPUs: enough to keep the cores busy, few enough for their caches."""
_GPU_BUDGET = 32768
_BATCH_BUDGETS = 2
"""Packs of async calls that run at once: few, so that a short call does not wait long for long ones."""


class Encoder:
    """Turn queries and documents into vectors with one model.

    Build it with from_pretrained or from_settings. Close it, or use it in a `with` block, to release its memory and its
    processes. Threads may share an encoder; their calls run one after another.
    """

    def __init__(
        self,
        model: ModelDescription,
        engine: Engine,
        *,
        token_budget: int,
        cache: VectorCache | None = None,
    ) -> None:
        self._spec = model.spec
        self._adapter: str | None = None
        self._adapter_specs = dict(model.adapter_specs)
        self._tokenizer = model.tokenizer
        self._engine = engine
        self._texts = TextEngine(model, engine, token_budget=token_budget)
        self._device = model.device
        self._cache = cache
        self._coalescer = Coalescer(
            self._run_batch, cost=self._texts.cost, max_cost=_BATCH_BUDGETS * token_budget, outages=(OutageError,)
        )
        self._settings: EncoderSettings | None = None
        self._variants: dict[str | None, Encoder] = {None: self}
        """The encoder for each adapter requested so far; they share everything else."""

    @classmethod
    def from_pretrained(  # noqa: PLR0913 - every setting of an encoder
        cls,
        name_or_path: str | os.PathLike[str] = "default",
        *,
        revision: str | None = None,
        adapter: str | os.PathLike[str] | Mapping[str, str] | None = None,
        device: str | Sequence[str] | None = None,
        dtype: str = "auto",
        backend: Literal["auto", "torch", "onnx"] = "auto",
        max_query_length: int | None = None,
        max_document_length: int | None = None,
        truncate_dim: int | None = None,
        token_budget: int | None = None,
        cache: VectorCache | None = None,
    ) -> Encoder:
        """Load a model: "default", an alias, a folder in transformers' or sentence-transformers' layout, or a hub id.

        adapter is one LoRA folder or hub id, merged for speed, or a mapping of names to them, chosen per call. device
        is one device or several ("cuda:0", "cuda:1"): each gets a process that holds the model until close. dtype is
        auto, float32, bfloat16, float16 or int8. backend "auto" takes ONNX Runtime for BERT's kind on a CPU in float32
        or int8, and torch, an extra, for everything else. Lengths are in tokens, template and special tokens included;
        truncate_dim keeps the first numbers of each vector (Matryoshka); token_budget bounds the tokens, and so the
        memory, of one forward pass; cache keeps vectors on disk. Raises ModelError for a model that cannot be loaded,
        InputError for settings that it does not support, MissingDependencyError for a model that needs torch where that
        is not installed.
        """
        settings = EncoderSettings(
            model=cast("str", name_or_path),  # the settings turn paths into text
            revision=revision,
            adapter=None if isinstance(adapter, Mapping) else cast("str | None", adapter),
            adapters=adapter if isinstance(adapter, Mapping) else {},
            device=device,
            dtype=dtype,
            backend=backend,
            max_query_length=max_query_length,
            max_document_length=max_document_length,
            truncate_dim=truncate_dim,
            token_budget=token_budget,
        )
        _check_cache(cache)
        return cls._load(settings, cache)

    @classmethod
    def from_settings(cls, settings: EncoderSettings) -> Encoder:
        """Load a model by its settings, again for every call; shared_encoder loads equal settings once.

        Raises ModelError for a model that cannot be loaded, InputError for settings that it does not support and for
        those of a server, which need RemoteEncoder or shared_encoder.
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
            encoder = run_in_own_thread(lambda: cls._load_here(settings, cache))
        else:
            from reasonembed_rag.encoder.workers import WorkerEngine

            workers = WorkerEngine(settings, devices=device)
            encoder = cls(workers.start(), workers, token_budget=budget or _default_budget(device[0]), cache=cache)
        encoder._settings = settings
        return encoder

    @classmethod
    def _load_here(cls, settings: EncoderSettings, cache: VectorCache | None) -> Encoder:
        loaded = load_engine(settings)
        budget = settings.token_budget or _default_budget(loaded.description.device or "")
        return cls(loaded.description, loaded.engine, token_budget=budget, cache=cache)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings only; the model is loaded again where they are read, and by copy."""
        if self._settings is None:
            raise InputError("an encoder around a model of yours cannot be pickled; load it with from_pretrained")
        return _load_again, (self._settings, self._cache, self._adapter)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spec(self) -> EmbeddingSpec:
        """The settings that determine the vectors."""
        return self._spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._spec.dimension

    @property
    def tokens_encoded(self) -> int:
        """Tokens computed so far, template and special tokens included, vectors from the cache excluded."""
        return self._texts.tokens

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters that a call can choose."""
        return tuple(self._adapter_specs)

    def with_adapter(self, name: str | None) -> Encoder:
        """Return this encoder with an adapter (None: without), sharing memory, counts and close with this one.

        Raises InputError for a name that was not loaded.
        """
        if name in self._variants:
            return self._variants[name]
        if name is None or name not in self._adapter_specs:
            raise InputError(
                f"unknown adapter {name!r}; {want_one_of(name, self.adapters)}: "
                "pass from_pretrained a mapping of names to folders"
            )
        variant = object.__new__(Encoder)
        variant.__dict__.update(self.__dict__)
        variant._adapter, variant._spec = name, self._adapter_specs[name]
        return self._variants.setdefault(name, variant)

    def passage_splitter(self, *, tokens: int | None = None, overlap: int = 0) -> PassageSplitter:
        """Return a splitter into passages that this encoder reads whole; see the function passage_splitter."""
        return splitter_by_tokenizer(self._tokenizer, self._spec, tokens=tokens, overlap=overlap)

    def token_gradients(self) -> EncoderGradients:
        """Return gradients of document vectors with respect to their tokens, for attacks on this encoder.

        The weights are loaded a second time, for as long as the result lives. Raises InputError for int8 and for an
        encoder on several devices, ModelError if the model's files have changed.
        """
        if self._device is None:
            raise InputError("gradients need an encoder on one device; want device='cpu' or 'cuda:0'")
        if self._spec.dtype == "int8":
            raise InputError("gradients need other weights than int8; want dtype='float32' or 'bfloat16'")
        if find_spec("torch") is None or find_spec("transformers") is None:
            raise MissingDependencyError("torch, which gradients need,", "torch")
        from reasonembed_rag.encoder.gradients import load_gradients

        run = functools.partial(self._texts.encode_tokens, adapter=self._adapter)
        return load_gradients(self._spec, device=self._device, run=run)

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

        task names a task card whose instruction fills the query template; instruction gives it in words. A model that
        takes no instruction ignores the task and refuses an instruction. adapter names one of those loaded. Raises
        InputError for a query that is empty or not a string, UnknownTaskError for an unknown task.
        """
        if adapter is not None:
            return self.with_adapter(adapter).encode_queries(
                texts, task=task, instruction=instruction, show_progress=show_progress
            )
        call = self._query_call(task, instruction)
        queries = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=False)
        vectors = self._encode(queries, call, show_progress=show_progress)
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
        vectors = self._encode(documents, self._document_call(), show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        adapter: str | None = None,
    ) -> NDArray[np.float32]:
        """Return what encode_queries returns, off the event loop; concurrent calls share forward passes."""
        if adapter is not None:
            return await self.with_adapter(adapter).aencode_queries(texts, task=task, instruction=instruction)
        call = self._query_call(task, instruction)
        queries = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=False)
        vectors = await self._submit(queries, call)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_documents(self, texts: str | Sequence[str], *, adapter: str | None = None) -> NDArray[np.float32]:
        """Return what encode_documents returns, off the event loop; concurrent calls share forward passes."""
        if adapter is not None:
            return await self.with_adapter(adapter).aencode_documents(texts)
        documents = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=True)
        vectors = await self._submit(documents, self._document_call())
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        kind: ExportKind = "sentence-transformers",
        dtype: ExportDtype = "auto",
        overwrite: bool = False,
    ) -> None:
        """Write the model, its adapter merged, as a folder for sentence-transformers, TEI and Infinity.

        The folder appears once it is complete. See save_model for the kinds and number formats. Raises InputError for
        a folder that is not empty, unless it is to be overwritten, and for an encoder around a model of yours.
        """
        from reasonembed_rag.export import save_model

        if self._settings is None:
            raise InputError("an encoder around a model of yours cannot be saved; load it with from_pretrained")
        settings = dataclasses.replace(self._settings, adapters=())
        if self._adapter is not None:
            settings = dataclasses.replace(settings, adapter=dict(self._settings.adapters)[self._adapter])
        save_model(settings, folder, kind=kind, dtype=dtype, overwrite=overwrite)

    def tokenize(
        self,
        texts: Sequence[str] | Sequence[Sequence[int]],
        *,
        role: Literal["query", "document"] | None = None,
        task: str | None = None,
        instruction: str | None = None,
    ) -> Tokens:
        """Return the token ids of queries or documents as they are encoded, for aencode_tokens.

        Without a role no template is put around the texts, and token ids may be given in place of texts: they are
        checked and truncated to the length of documents. Raises InputError for what cannot be encoded.
        """
        spec = self._spec
        if role is None and not isinstance(next(iter(texts), ""), str):
            ids = cast("Sequence[Sequence[int]]", texts)
            return self._tokenizer.complete(ids, max_length=spec.max_document_length)
        checked = check_texts(texts, kind="texts", allow_empty=role == "document")
        if role == "query":
            before, after = query_affixes(spec, task=task, instruction=instruction)
        else:
            before, after = spec.document_affixes() if role == "document" else ("", "")
        length = spec.max_query_length if role == "query" else spec.max_document_length
        return self._tokenizer(checked, before=before, after=after, max_length=length)

    async def aencode_tokens(self, tokens: Tokens) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of texts tokenised by `tokenize`, off the event loop.

        Concurrent calls share forward passes; the cache is not asked, and truncated texts are not reported again.
        """
        if not len(tokens.lengths):
            return np.empty((0, self.dimension), dtype=np.float32)
        call = TokenCall(self._adapter, tokens.skip, tokens.ids[: tokens.shared].tobytes())
        return await self._coalescer.encode(tokens.rows(np.arange(len(tokens.lengths))), call)

    def close(self) -> None:
        """Release the model's memory and processes; later calls raise BackendError."""
        self._coalescer.close()
        self._texts.close()

    def _query_call(self, task: str | None, instruction: str | None) -> TextCall:
        affixes = query_affixes(self._spec, task=task, instruction=instruction)
        return TextCall("query", affixes, self._adapter)

    def _document_call(self) -> TextCall:
        return TextCall("document", self._spec.document_affixes(), self._adapter)

    async def _submit(self, texts: list[str], call: TextCall) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return await self._coalescer.encode(texts, call)

    def _run_batch(self, texts: list[Any], key: Hashable) -> NDArray[np.float32]:
        if isinstance(key, TokenCall):
            return self._texts.encode_joined(texts, key)
        if not isinstance(key, TextCall):
            raise TypeError(f"want TextCall, got {type(key).__name__}")
        return self.with_adapter(key.adapter)._encode(texts, key, show_progress=False)  # noqa: SLF001 - a variant of this encoder

    def _encode(self, texts: list[str], call: TextCall, *, show_progress: bool) -> NDArray[np.float32]:
        if self._cache is None or not texts:
            return self._encode_all(texts, call, show_progress=show_progress)
        keys = vector_keys(self._spec, texts, role=call.role, affixes=call.affixes)
        return encode_through_cache(
            texts,
            self._cache,
            keys,
            lambda missing: self._encode_all(missing, call, show_progress=show_progress),
            dimension=self.dimension,
        )

    def _encode_all(self, texts: list[str], call: TextCall, *, show_progress: bool) -> NDArray[np.float32]:
        return self._texts.encode(texts, call, show_progress=show_progress)


def _load_again(settings: EncoderSettings, cache: VectorCache | None, adapter: str | None) -> Encoder:
    return Encoder._load(settings, cache).with_adapter(adapter)  # noqa: SLF001 - the same module


def _default_budget(device: str) -> int:
    return _GPU_BUDGET if device.startswith("cuda") else _CPU_BUDGET


def _check_cache(cache: Any) -> None:
    if cache is not None and not isinstance(cache, VectorCache):
        raise InputError(f"cache is {cache!r}; want VectorCache(folder, max_bytes=...)")
