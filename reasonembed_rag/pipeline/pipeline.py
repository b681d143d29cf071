"""Pipeline: a retriever with named stages around it, each of which can be left out, and what each costs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.fusion import Fusion
from reasonembed_rag.pipeline.observer import searched
from reasonembed_rag.protocols import DocumentVectors, Identified, Metered, Retriever, Usage, VectorRetriever

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Pipeline", "PipelineStage", "StageCost", "class_name", "identity_of", "used_between", "vectors_behind"]

_RETRIEVE = "retrieve"
"""The name of the retriever among the costs."""
_inner_seconds: ContextVar[float] = ContextVar("inner_seconds", default=0.0)
"""Seconds that the layers inside the one that runs have taken so far."""


@dataclass(frozen=True, slots=True)
class PipelineStage:
    """A step of a pipeline: query expansion, fusion, reranking, iteration, a filter."""

    name: str
    around: Callable[[Retriever], Retriever]
    """Returns a retriever that takes this step around the one given; its usage includes that one's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What a stage itself has used, without the stages inside it."""

    name: str
    searches: int
    """How often it was asked, for vectors too; a feedback loop asks what is inside it several times."""
    seconds: tuple[float, ...]
    """Seconds per query of each search."""
    llm_calls: int | None
    llm_tokens: int | None
    llm_cost: float | None
    query_tokens: int | None

    @property
    def median(self) -> float:
        """The median of the seconds per query; NaN where it was never asked."""
        return statistics.median(self.seconds) if self.seconds else math.nan


class Pipeline:
    """A retriever with stages around it, the first one innermost; it is a retriever itself.

    Without stages it returns what its retriever returns. Raises InputError for two stages of one name
    and for a stage that cannot be around the one before it.
    """

    def __init__(self, retriever: Retriever, stages: Sequence[PipelineStage] = ()) -> None:
        names = [_RETRIEVE, *(stage.name for stage in stages)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise InputError(f"several stages are named {', '.join(repeated)}; want each name once, none 'retrieve'")
        self.retriever = retriever
        self.stages = tuple(stages)
        self._layers = [_layer(_RETRIEVE, retriever)]
        for stage in stages:
            inner = self._layers[-1]
            try:
                around = stage.around(inner)
            except InputError as error:
                raise InputError(f"stage {stage.name!r}, around {inner.name!r}: {error}") from error
            self._layers.append(_layer(stage.name, around, inner=inner))

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        """Return what the last stage makes of what the stages before it found."""
        return self._layers[-1].search(queries, k=k, excluded_ids=excluded_ids)

    def usage(self) -> Usage:
        """Return what the retriever and all stages have used."""
        return self._layers[-1].usage()

    def only(self, names: Collection[str]) -> Pipeline:
        """Return the pipeline with only these stages, in their order, over the same retriever.

        Raises InputError for a name that no stage has.
        """
        known = [stage.name for stage in self.stages]
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise InputError(f"no stage is named {', '.join(unknown)}; the pipeline has {', '.join(known) or 'none'}")
        return Pipeline(self.retriever, [stage for stage in self.stages if stage.name in names])

    def without(self, name: str) -> Pipeline:
        """Return the pipeline without a stage; raises InputError for a name that no stage has."""
        self.only([name])
        return self.only({stage.name for stage in self.stages} - {name})

    def costs(self) -> tuple[StageCost, ...]:
        """Return what the retriever and each stage have used since construction, innermost first."""
        before = Usage()
        costs = []
        for layer in self._layers:
            after = layer.usage()
            costs.append(layer.cost(used_between(before, after)))
            before = after
        return tuple(costs)


class _Layer:
    """A retriever that is timed without the layers inside it."""

    def __init__(self, name: str, retriever: Retriever, *, inner: _Layer | None = None) -> None:
        self.name = name
        self._retriever = retriever
        self._inner = inner
        self._seconds: list[float] = []
        # What the documents took counts whenever they were encoded: the pipeline stands on it.
        self._at_start = replace(self._used(), encoding_seconds=None, document_tokens=None, index_bytes=None)

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        def search() -> list[Hits]:
            with self._timed(len(queries)):
                return self._retriever.search(queries, k=k, excluded_ids=excluded_ids)

        return searched(self.name, queries, search)

    @contextmanager
    def _timed(self, queries: int) -> Iterator[None]:
        """Count what the block takes, without the layers inside this one, as a search for so many queries."""
        token = _inner_seconds.set(0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            own = whole - _inner_seconds.get()
            _inner_seconds.reset(token)
            _inner_seconds.set(_inner_seconds.get() + whole)
            self._seconds.append(own / max(queries, 1))

    def described(self) -> str:
        return type(self._retriever).__name__

    def identity(self) -> str:
        own = identity_of(self._retriever)
        return own if self._inner is None else f"{own} around {self._inner.identity()}"

    def vectors_behind(self) -> DocumentVectors | None:
        own = vectors_behind(self._retriever)
        return self._inner.vectors_behind() if own is None and self._inner is not None else own

    def usage(self) -> Usage:
        return used_between(self._at_start, self._used())

    def cost(self, own: Usage) -> StageCost:
        return StageCost(
            name=self.name,
            searches=len(self._seconds),
            seconds=tuple(self._seconds),
            llm_calls=own.llm_calls,
            llm_tokens=own.llm_tokens,
            llm_cost=own.llm_cost,
            query_tokens=own.query_tokens,
        )

    def _used(self) -> Usage:
        if isinstance(self._retriever, Metered):
            return self._retriever.usage()
        return Usage() if self._inner is None else self._inner.usage()


class _VectorLayer(_Layer):
    """A layer whose retriever gives vectors, for the stages around it that search by them."""

    def __init__(self, name: str, retriever: VectorRetriever, *, inner: _Layer | None) -> None:
        super().__init__(name, retriever, inner=inner)
        self._vectors = retriever

    def vector_spec(self) -> EmbeddingSpec:
        return self._vectors.vector_spec()

    def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._timed(len(texts)):
            return self._vectors.embed_queries(texts)

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._timed(len(texts)):
            return self._vectors.embed_documents(texts)

    def search_vectors(
        self,
        vectors_QD: NDArray[np.float32],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[Hits]:
        def search() -> list[Hits]:
            with self._timed(len(vectors_QD)):
                return self._vectors.search_vectors(vectors_QD, k=k, excluded_ids=excluded_ids, texts=texts)

        return searched(self.name, texts or (), search)

    def vectors_of(self, ids: Sequence[str]) -> NDArray[np.float32]:
        with self._timed(len(ids)):
            return self._vectors.vectors_of(ids)


def class_name(retriever: Retriever) -> str:
    """Return the name of a retriever's class for a message, whether it stands in a pipeline or not."""
    return retriever.described() if isinstance(retriever, _Layer) else type(retriever).__name__


def identity_of(retriever: Retriever) -> str:
    """Return what determines a retriever's scores, beside its documents, as far as it is known: a class, a model."""
    if isinstance(retriever, Identified):
        return retriever.identity()
    if isinstance(retriever, Fusion):
        parts = ", ".join(f"{part.weight} {identity_of(part.retriever)}" for part in retriever.parts)
        return f"fusion of {retriever.fusion}: {parts}"
    return (
        f"vectors {retriever.vector_spec().space()}"
        if isinstance(retriever, VectorRetriever)
        else class_name(retriever)
    )


def vectors_behind(retriever: Retriever) -> DocumentVectors | None:
    """Return what gives the vectors of a retriever's documents, through the stages of a pipeline and a fusion's parts.

    None where nothing does.
    """
    if isinstance(retriever, _Layer):
        return retriever.vectors_behind()
    if isinstance(retriever, Fusion):
        return next(filter(None, (vectors_behind(part.retriever) for part in retriever.parts)), None)
    return retriever if isinstance(retriever, DocumentVectors) else None


def _layer(name: str, retriever: Retriever, *, inner: _Layer | None = None) -> _Layer:
    if isinstance(retriever, VectorRetriever):
        return _VectorLayer(name, retriever, inner=inner)
    return _Layer(name, retriever, inner=inner)


def used_between(before: Usage, after: Usage) -> Usage:
    """Return what was used in between; what is not known after stays unknown."""
    values = {}
    for field in fields(Usage):
        end, start = getattr(after, field.name), getattr(before, field.name)
        values[field.name] = None if end is None else end - (start or 0)
    return Usage(**values)
