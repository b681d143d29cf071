"""Searcher: a question in words, answered from an index by the model that made it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.encoder import EncoderSettings, SharedEncoder, shared_encoder
from reasonembed_rag.errors import InputError
from reasonembed_stores.filters import FilterLike
from reasonembed_stores.indexing import is_unfinished
from reasonembed_stores.opening import open_store
from reasonembed_stores.store import Hit, Store

__all__ = ["Question", "Searcher"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Texts whose vectors are averaged to one query, or a vector made already, and what may be found for it."""

    texts: Sequence[str] = ()
    vector: Sequence[float] | None = None
    k: int = 10
    task: str | None = None
    instruction: str | None = None
    filters: FilterLike | None = None
    excluded_ids: Collection[str] = ()


class Searcher:
    """Open an index and load its model at the first question; what every framework's retriever stands on."""

    def __init__(
        self,
        index: str,
        *,
        model: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        base_url: str | None = None,
        api_key: str | None = None,
    ) -> None:
        """Remember the folder of an index, and a model or server where the index's own model is not to be loaded.

        A server at base_url is trusted to hold the model that the index names; model is then its name there.
        """
        self._index = index
        self._model = model
        self._base = EncoderSettings(device=device, dtype=dtype)
        self._base_url = base_url
        self._api_key = api_key
        self._lock = Lock()
        self._ready: tuple[Store, SharedEncoder] | None = None

    @property
    def model_name(self) -> str | None:
        """The model of the queries, where it is known without opening anything."""
        return self._model if self._ready is None else self._ready[1].spec.model

    def ready(self) -> tuple[Store, SharedEncoder]:
        """Return the opened store and its loaded model.

        Raises StoreError, SpecMismatchError or ModelError where one of them cannot be had.
        """
        with self._lock:
            if self._ready is None:
                store = open_store(self._index)
                if is_unfinished(Path(self._index)):
                    _logger.warning("%s is unfinished: index again to add what is missing", self._index)
                try:
                    self._ready = store, self._encoder(store)
                except BaseException:
                    store.close()
                    raise
            return self._ready

    def _encoder(self, store: Store) -> SharedEncoder:
        spec = store.spec
        if self._base_url is not None:
            settings = replace(
                self._base,
                model=self._model or (spec.model if spec else self._base.model),
                base_url=self._base_url,
                server_spec=spec,
                api_key=self._api_key,
            )
            return shared_encoder(settings)
        if self._model is not None:
            settings = replace(self._base, model=self._model)
        elif spec is not None:
            settings = replace(self._base, model=spec.model, revision=spec.revision, adapter=spec.adapter)
        else:
            raise InputError(f"{self._index} does not name the model of its vectors; name it yourself: model=...")
        encoder = shared_encoder(settings)
        if spec is not None and spec.dimension < encoder.dimension:
            encoder = shared_encoder(replace(settings, truncate_dim=spec.dimension))
        store.check_spec(encoder.spec)
        return encoder

    def search(self, question: Question) -> list[Hit]:
        """Return the k best documents for a question, best first."""
        store, encoder = self.ready()
        vectors = None
        if question.vector is None:
            texts = list(question.texts)
            vectors = encoder.encode_queries(texts, task=question.task, instruction=question.instruction)
        return _find(store, question, vectors)

    async def asearch(self, question: Question) -> list[Hit]:
        """Do the same without ever blocking the event loop."""
        store, encoder = await asyncio.to_thread(self.ready) if self._ready is None else self._ready
        vectors = None
        if question.vector is None:
            texts = list(question.texts)
            vectors = await encoder.aencode_queries(texts, task=question.task, instruction=question.instruction)
        return await asyncio.to_thread(_find, store, question, vectors)


def _find(store: Store, question: Question, vectors: NDArray[np.float32] | None) -> list[Hit]:
    rows_QD = np.asarray([question.vector], dtype=np.float32) if vectors is None else vectors
    if len(rows_QD) == 0:
        raise InputError("got a question without texts; want at least one text, or a vector")
    query_1D = rows_QD if len(rows_QD) == 1 else rows_QD.mean(axis=0, keepdims=True)
    excluded = [question.excluded_ids] if question.excluded_ids else None
    return store.search(query_1D, k=question.k, filters=question.filters, excluded_ids=excluded)[0]
