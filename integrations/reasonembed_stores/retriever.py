"""IndexRetriever: a saved index and its model as a retriever of the core."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from reasonembed_rag.api_key import ApiKey
from reasonembed_rag.encoder import EncoderSettings, SharedEncoder, shared_encoder
from reasonembed_rag.errors import InputError
from reasonembed_rag.forks import ForkLock
from reasonembed_rag.hits import Hits
from reasonembed_rag.protocols import Embedder, Usage
from reasonembed_rag.retrieval import TokenMeter
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores.filters import FilterLike
from reasonembed_stores.hybrid import HybridHits, HybridSearch, check_bm25_weight
from reasonembed_stores.index_options import is_unfinished
from reasonembed_stores.lexical import LexicalSearch
from reasonembed_stores.opening import open_store
from reasonembed_stores.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["IndexModel", "IndexRetriever"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexModel:
    """How the model of an index is loaded.

    A server at base_url is trusted to hold the model that the index names; model is then its name there.
    """

    model: str | None = None
    """The model of the queries; None takes the one that the index names."""
    device: str | Sequence[str] | None = None
    dtype: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    """Never in a pickle: REASONEMBED_API_KEY is read where it is unpickled."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", None if self.api_key is None else ApiKey(self.api_key))

    def load(self, store: Store, *, name: str) -> SharedEncoder:
        """Return the encoder for a store's vectors, truncated to their dimension; models are shared in the process.

        Raises InputError where neither names a model, SpecMismatchError for another model than the store's.
        """
        spec = store.spec
        if self.base_url is not None:
            served = spec and replace(spec, enrichment=None)  # the server has the model alone
            return shared_encoder(self._settings(spec, name, server_spec=served, base_url=self.base_url))
        settings = self._settings(spec, name)
        encoder = shared_encoder(settings)
        own = encoder.spec
        longer = spec is not None and own.dimension < spec.dimension and own.weights == spec.weights
        if spec is not None and (spec.dimension < own.dimension or longer):  # its files may name another dimension
            encoder = shared_encoder(replace(settings, truncate_dim=spec.dimension))
        store.check_spec(encoder.spec)
        return encoder

    def _settings(
        self,
        spec: EmbeddingSpec | None,
        name: str,
        *,
        base_url: str | None = None,
        server_spec: EmbeddingSpec | None = None,
    ) -> EncoderSettings:
        settings = EncoderSettings(device=self.device, dtype=self.dtype, backend=self.backend)
        if base_url is not None:
            model = self.model or (spec.model if spec else settings.model)
            return replace(settings, model=model, base_url=base_url, server_spec=server_spec, api_key=self.api_key)
        if self.model is not None:
            return replace(settings, model=self.model)
        if spec is None:
            raise InputError(f"{name} does not name the model of its vectors; name it: model=..., or --model")
        return replace(settings, model=spec.model, revision=spec.revision, adapter=spec.adapter)


class IndexRetriever:
    """Find the documents of a saved index; a VectorRetriever, for pipelines, evaluation and the frameworks' classes.

    index is a store, or the folder of one; embedder is what encodes the queries, or how the model that the index names
    is loaded. The index is opened and the model loaded at the first query. Hits carry their documents. With a
    bm25_weight above 0, such as BM25_WEIGHT, vectors and words are searched and their scores fused, as HybridSearch
    says; that needs a FaissStore.
    """

    def __init__(
        self,
        index: Store | str | Path,
        embedder: Embedder | IndexModel | None = None,
        *,
        task: str | None = None,
        instruction: str | None = None,
        filters: FilterLike | None = None,
        bm25_weight: float = 0.0,
    ) -> None:
        check_bm25_weight(bm25_weight)
        self._source = _Source(index, embedder or IndexModel())
        self._meter = TokenMeter()
        self.task = task
        self.instruction = instruction
        self.filters = filters
        self.bm25_weight = bm25_weight

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings; the index is opened and the model loaded again where they are read."""
        names = ("task", "instruction", "filters", "bm25_weight")
        settings: dict[str, Any] = {name: getattr(self, name) for name in names}
        return partial(type(self), **settings), (self._source.index, self._source.embedder)

    def with_settings(
        self,
        *,
        task: str | None = None,
        instruction: str | None = None,
        filters: FilterLike | None = None,
        bm25_weight: float = 0.0,
    ) -> IndexRetriever:
        """Return a retriever with these settings in place of its own, over the same opened index and model."""
        made = IndexRetriever(
            self._source.index, task=task, instruction=instruction, filters=filters, bm25_weight=bm25_weight
        )
        made._source = self._source  # the same class
        made._meter = self._meter  # the same class
        return made

    @property
    def spec(self) -> EmbeddingSpec:
        """The spec of the queries' vectors; opens the index and loads the model if that was not done yet."""
        return self._source.opened().encoder.spec

    @property
    def store(self) -> Store:
        """The opened store; opens it and loads the model if that was not done yet.

        Raises StoreError, SpecMismatchError or ModelError where that fails.
        """
        return self._source.opened().store

    @property
    def folder(self) -> Path | None:
        """The folder of the index; None for a store that was given open."""
        return Path(self._source.index) if isinstance(self._source.index, str | Path) else None

    @property
    def model_name(self) -> str | None:
        """The model of the queries, where it is known without opening anything."""
        return self._source.model_name

    def vector_spec(self) -> EmbeddingSpec:
        """Return `spec`: this is a VectorRetriever, for the stages of a pipeline that move vectors."""
        return self.spec

    def identity(self) -> str:
        """Return what determines the scores, beside the documents: the space of the vectors, and BM25's weight."""
        words = f" and BM25 by {self.bm25_weight}" if self.bm25_weight > 0.0 else ""
        return f"vectors {self.spec.space()}{words}"

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return what encode_queries returns."""
        return self.encode_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of texts as documents; their tokens are counted with the queries'."""
        encoder = self._source.opened().encoder
        with self._meter.counting(encoder.embedder):
            return encoder.encode_documents(list(texts))

    def search_vectors(
        self,
        vectors_QD: NDArray[np.float32],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[Hits]:
        """Return the k best documents of each vector (Q, dimension), and of its text where BM25 has a weight.

        Raises InputError where BM25 has a weight and there are no texts.
        """
        if texts is None and self.bm25_weight > 0.0:
            raise InputError(f"bm25_weight is {self.bm25_weight}; want the texts of the vectors too, or bm25_weight 0")
        found = self.search_hybrid(texts or [""] * len(vectors_QD), vectors_QD, k=k, excluded_ids=excluded_ids)
        return [one.hits for one in found]

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """Return the stored vectors (n, dimension) of documents by their ids; raises InputError for an unknown id."""
        return self.store.vectors_of(ids)

    def encode_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, with this retriever's task and instruction."""
        encoder = self._source.opened().encoder
        with self._meter.counting(encoder.embedder):
            return encoder.encode_queries(list(queries), task=self.task, instruction=self.instruction)

    async def aencode_queries(self, queries: Sequence[str]) -> NDArray[np.float32]:
        """Return what encode_queries returns, without blocking the event loop."""
        encoder = (await self._source.aopened()).encoder
        with self._meter.counting(encoder.embedder):
            return await encoder.aencode_queries(list(queries), task=self.task, instruction=self.instruction)

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return the k best documents of each query among those that satisfy the filters, exclusions before the cut."""
        return [found.hits for found in self.search_hybrid(queries, k=k, excluded_ids=excluded_ids)]

    async def asearch(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return what search returns, without blocking the event loop, loading included."""
        vectors = await self.aencode_queries(queries)
        found = await asyncio.to_thread(self.search_hybrid, queries, vectors, k=k, excluded_ids=excluded_ids)
        return [one.hits for one in found]

    def search_hybrid(
        self,
        queries: Sequence[str],
        query_vectors: NDArray[np.float32] | None = None,
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[HybridHits]:
        """Return what search returns, with the lists that were fused; query_vectors spares encoding the queries."""
        vectors = self.encode_queries(queries) if query_vectors is None else query_vectors
        search = HybridSearch(self.store, self._source.lexical, bm25_weight=self.bm25_weight)
        return search.search(queries, vectors, k=k, filters=self.filters, excluded_ids=excluded_ids)

    def prepare_bm25(self, *, on_message: Callable[[str], object] | None = None) -> None:
        """Read or build the index of words, which the first hybrid search does; raises InputError where it cannot."""
        self._source.lexical.prepare(self.store, on_message=on_message)

    def usage(self) -> Usage:
        """Return the query tokens so far, for an embedder that counts them, and the size of an index on disk."""
        return Usage(query_tokens=self._meter.tokens, index_bytes=self._source.index_bytes())


class _Opened(NamedTuple):
    store: Store
    encoder: SharedEncoder


class _Source:
    """An index and its model, opened once for all retrievers that share them."""

    def __init__(self, index: Store | str | Path, embedder: Embedder | IndexModel) -> None:
        self.index = index
        self.embedder = embedder
        self.lexical = LexicalSearch()
        self._lock = ForkLock()
        self._opened: _Opened | None = None

    @property
    def model_name(self) -> str | None:
        if self._opened is not None:
            return self._opened.encoder.spec.model
        return self.embedder.model if isinstance(self.embedder, IndexModel) else None

    def opened(self) -> _Opened:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    async def aopened(self) -> _Opened:
        opened = self._opened
        return await asyncio.to_thread(self.opened) if opened is None else opened

    def index_bytes(self) -> int | None:
        if not isinstance(self.index, str | Path):
            return None
        return sum(path.stat().st_size for path in Path(self.index).rglob("*") if path.is_file())

    def _open(self) -> _Opened:
        if not isinstance(self.index, str | Path):
            return _Opened(self.index, self._encoder(self.index))
        store = open_store(self.index)
        try:
            if is_unfinished(Path(self.index)):
                _logger.warning("%s is unfinished: index again to add what is missing", self.index)
            return _Opened(store, self._encoder(store))
        except BaseException:
            store.close()
            raise

    def _encoder(self, store: Store) -> SharedEncoder:
        embedder = self.embedder
        if isinstance(embedder, IndexModel):
            return embedder.load(store, name="the store" if self.index is store else str(self.index))
        store.check_spec(embedder.spec)
        return embedder if isinstance(embedder, SharedEncoder) else SharedEncoder(lambda: embedder)
