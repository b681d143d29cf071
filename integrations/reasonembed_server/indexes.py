"""Indexes that are searched: by vectors and words, with filters, through the stages of a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.pipeline import Pipeline, PipelineStage
from reasonembed_server.logs import log_event
from reasonembed_server.problems import ApiProblem
from reasonembed_server.queueing import BoundedQueue
from reasonembed_stores import BM25_WEIGHT, IndexRetriever, Store, open_store, parse_filter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.hits import Hits
    from reasonembed_server.forms import SearchForm
    from reasonembed_server.limits import Limits
    from reasonembed_server.models import EmbeddingModel

__all__ = ["SearchIndex", "opened_index"]

_THREADS = 4


class _Models(Protocol):
    @property
    def limits(self) -> Limits: ...
    def model_of(self, store: Store, folder: Path) -> EmbeddingModel: ...


@dataclass(frozen=True, slots=True)
class _Stages:
    """The pipeline's stages, and which of them a request runs."""

    all: tuple[PipelineStage, ...]

    def chosen(self, names: Sequence[str] | None) -> tuple[PipelineStage, ...]:
        """Return the stages of these names, in the pipeline's order; raises ApiProblem for an unknown one."""
        known = [stage.name for stage in self.all]
        unknown = sorted(set(names or ()) - set(known))
        if unknown:
            has = f"it has {', '.join(known)}" if known else "it has none: start it with --pipeline"
            message = f"the server's pipeline has no stage {', '.join(map(repr, unknown))}; {has}"
            raise ApiProblem(400, message, code="unknown_stage", param="stages")
        return self.all if names is None else tuple(stage for stage in self.all if stage.name in names)


class SearchIndex:
    """An opened index with its model and the pipeline around it."""

    def __init__(self, name: str, retriever: IndexRetriever, model: EmbeddingModel, *, limits: Limits) -> None:
        self.name = name
        self.model = model
        self.queue = BoundedQueue(limits.searches, name=name, unit="questions")
        self._retriever = retriever
        self._stages = _Stages(())
        self._bm25_weight = 0.0
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reasonembed-search")

    def prepare(self, stages: tuple[PipelineStage, ...]) -> None:
        """Read the index of words, and put the stages around; raises InputError for stages that cannot be."""
        try:
            self._retriever.prepare_bm25()
        except InputError as error:
            log_event("only vectors are searched", index=self.name, reason=str(error))
        else:
            self._bm25_weight = BM25_WEIGHT
        Pipeline(self._retriever, stages)
        self._stages = _Stages(stages)

    def record(self) -> Mapping[str, Any]:
        """Return what clients should know of the index."""
        store = self._retriever.store
        return {
            "id": self.name,
            "object": "index",
            "model": self.model.name,
            "documents": len(store),
            "words": self._bm25_weight > 0,
            "stages": [stage.name for stage in self._stages.all],
        }

    def check(self, form: SearchForm) -> tuple[PipelineStage, ...]:
        """Return the stages of a request; raises ApiProblem or InputError for what cannot be searched."""
        parse_filter(form.filters)
        return self._stages.chosen(form.stages)

    async def search(self, form: SearchForm, vectors: NDArray[np.float32] | None) -> list[Hits]:
        """Return the hits of each question; vectors of the questions are given where no stages are run."""
        base = self._retriever.with_settings(
            task=form.task,
            instruction=form.instruction,
            filters=form.filters,
            bm25_weight=0.0 if form.plain else self._bm25_weight,
        )
        loop = asyncio.get_running_loop()
        if vectors is not None:
            search = partial(base.search_hybrid, form.query, vectors, k=form.k)
            return [found.hits for found in await loop.run_in_executor(self._threads, search)]
        pipeline = Pipeline(base, self._stages.chosen(form.stages))
        return await loop.run_in_executor(self._threads, partial(pipeline.search, form.query, k=form.k))

    def close(self) -> None:
        """Close the index after the searches that run."""
        self._threads.shutdown(cancel_futures=True)
        self._retriever.store.close()


def opened_index(name: str, folder: Path, models: _Models, *, stages: tuple[PipelineStage, ...]) -> SearchIndex:
    """Open an index with the served model of its vectors.

    Raises StoreError for a folder without an index, ModelError where its model cannot be loaded, SpecMismatchError for
    another model's vectors.
    """
    store = open_store(folder)
    try:
        model = models.model_of(store, folder)
    except ModelError as error:
        raise ModelError(f"{error}; it is the model of {folder}: if it moved, serve it too: --model PLACE") from error
    index = SearchIndex(name, IndexRetriever(store, model), model, limits=models.limits)
    index.prepare(stages)
    return index
