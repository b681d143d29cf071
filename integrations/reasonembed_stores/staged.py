"""An index with the stages of a pipeline around it, as the frameworks' retrievers search it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from weakref import WeakValueDictionary

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Chat, ChatAccess, ChatModelSettings, ResponseCache
from reasonembed_rag.pipeline import (
    Pipeline,
    PipelineSettings,
    PipelineStage,
    SearchObserver,
    StageContext,
    named_pipeline,
    observing,
    read_pipeline,
)
from reasonembed_rag.protocols import QueryExpander, Reranker, Retriever
from reasonembed_rag.tasks import DEFAULT_CARD, get_task
from reasonembed_stores.retriever import IndexRetriever
from reasonembed_stores.stage_context import with_index

__all__ = ["PipelineLike", "StageNames", "StagedHits", "StagedIndex"]

PipelineLike: TypeAlias = str | Path | PipelineSettings | Pipeline | Sequence[PipelineStage]
"""A pipeline's file, what was read from one, a pipeline that brings its retriever, or stages for an index."""


@dataclass(frozen=True, slots=True)
class StagedHits:
    """What a pipeline found, and the best score that its retriever gave each document within the stages."""

    hits: Hits
    first_scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNames:
    """How a retriever's user names stages; raises InputError for names that contradict each other or are unknown."""

    pipeline: PipelineLike | None = None
    expand: str | QueryExpander | None = None
    """As for named_pipeline, and so is rerank."""
    rerank: str | Reranker | None = None
    chat: ChatAccess | None = None
    """The chat model, where `expand` and `rerank` do not name it."""

    def __post_init__(self) -> None:
        beside = [name for name in ("expand", "rerank", "chat") if getattr(self, name) is not None]
        if self.pipeline is not None and beside:
            raise InputError(f"got pipeline and {', '.join(beside)}; want the stages in the pipeline, or without one")
        if self.pipeline is None:
            self._named()
        elif not _is_pipeline(self.pipeline):
            raise InputError(
                f"pipeline is {self.pipeline!r:.80}; want a TOML file, PipelineSettings, PipelineStages or a Pipeline"
            )

    @property
    def given(self) -> bool:
        """Whether there are stages at all."""
        return any(value is not None for value in (self.pipeline, self.expand, self.rerank, self.chat))

    def check_index(self, index: object, own: Collection[str]) -> None:
        """Raise InputError unless there is either an index or a pipeline that brings its own.

        `own` are the names of settings of the index that are given.
        """
        if not isinstance(self.pipeline, Pipeline):
            if index is None:
                raise InputError("got no index; want the folder of one, or a Pipeline that brings its retriever")
        elif index is not None or own:
            beside = ", ".join([*(["index"] if index is not None else []), *sorted(own)])
            raise InputError(
                f"got {beside} and a Pipeline, which brings its own retriever; want an IndexRetriever with these "
                "settings within the Pipeline, or its stages alone: pipeline=pipeline.stages"
            )

    def read(self) -> PipelineSettings | Pipeline | tuple[PipelineStage, ...]:
        """Return the stages; raises InputError for a file that cannot be read."""
        given = self.pipeline
        if given is None:
            return self._named()
        if isinstance(given, str | Path):
            return read_pipeline(Path(given))
        return given if isinstance(given, PipelineSettings | Pipeline) else tuple(given)

    def _named(self) -> PipelineSettings:
        return named_pipeline(expand=self.expand, rerank=self.rerank, has_chat=self.chat is not None)


_MOST_OPENED = 32
"""Tasks and filters whose stages are kept open."""


def _is_pipeline(given: object) -> bool:
    if isinstance(given, Sequence) and not isinstance(given, str):
        return all(isinstance(one, PipelineStage) for one in given)
    return isinstance(given, str | Path | PipelineSettings | Pipeline)


@dataclass(slots=True)
class StagedIndex:
    """Stages, read and with their models loaded at the first search, around whatever is searched.

    open_chat opens the chat model that the stages name.
    """

    names: StageNames
    open_chat: Callable[[ChatModelSettings], Chat]
    _read: PipelineSettings | Pipeline | tuple[PipelineStage, ...] | None = field(default=None, init=False)
    _chat: ChatAccess | None = field(default=None, init=False)
    _stages: dict[tuple[str | None, str | None], Sequence[PipelineStage]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def search(
        self,
        query: str,
        retriever: Retriever | None,
        *,
        k: int,
        excluded_ids: Collection[str] = (),
        task: str | None = None,
        observer: SearchObserver | None = None,
    ) -> StagedHits:
        """Return the k best documents of a query through the stages around a retriever, the pipeline's own for None.

        Raises what PipelineSettings.build and search raise, InputError for a pipeline whose hits have no documents.
        """
        pipeline = self._around(retriever, task)
        scores = _FirstScores(observer)
        with observing(scores):
            (hits,) = pipeline.search([query], k=k, excluded_ids=[excluded_ids])
        if len(hits) and hits.documents is None:
            raise InputError(
                "the pipeline's hits have no documents; want a retriever with documents, such as an IndexRetriever"
            )
        return StagedHits(hits, {identity: scores.best[identity] for identity in hits.ids if identity in scores.best})

    def _around(self, retriever: Retriever | None, task: str | None) -> Pipeline:
        """Return the pipeline; the stages of each task are opened once, those that search elsewhere once per filter."""
        with self._lock:
            if self._read is None:
                self._read = self.names.read()
            if isinstance(self._read, Pipeline):
                return self._read
            others = isinstance(self._read, PipelineSettings) and self._read.opens_retrievers
            filters = repr(retriever.filters) if others and isinstance(retriever, IndexRetriever) else None
            if (task, filters) not in self._stages:
                if len(self._stages) >= _MOST_OPENED:
                    self._stages.clear()
                self._stages[task, filters] = self._opened(self._read, task, retriever)
            if retriever is None:
                raise InputError("got no index; want the folder of one, or a Pipeline that brings its retriever")
            return Pipeline(retriever, self._stages[task, filters])

    def _opened(
        self, stages: PipelineSettings | tuple[PipelineStage, ...], task: str | None, retriever: Retriever | None
    ) -> Sequence[PipelineStage]:
        if not isinstance(stages, PipelineSettings):
            return stages
        card = DEFAULT_CARD if task is None else get_task(task)
        if self._chat is None:
            self._chat = self.names.chat or self._opened_chat(stages)
        context = StageContext(card=card, chat=self._chat)
        return stages.open(with_index(context, retriever) if isinstance(retriever, IndexRetriever) else context)

    def _opened_chat(self, stages: PipelineSettings) -> ChatAccess | None:
        if not stages.asks_chat or stages.chat is None:
            return None
        cache = None if stages.answers is None else _shared_cache(stages.answers)
        return ChatAccess(chat=self.open_chat(stages.chat), model=stages.chat, calls=stages.calls, cache=cache)


class _FirstScores:
    """Keep the best score that the pipeline's retriever gave each document, and tell another observer of all."""

    def __init__(self, beside: SearchObserver | None) -> None:
        self.best: dict[str, float] = {}
        self._beside = beside

    @contextmanager
    def __call__(self, name: str, queries: Sequence[str]) -> Iterator[Callable[[list[Hits]], object]]:
        outer = nullcontext(lambda _hits: None) if self._beside is None else self._beside(name, queries)
        with outer as told:

            def found(hits: list[Hits]) -> None:
                if name == "retrieve":
                    for one in hits:
                        for identity, score in zip(one.ids, one.scores.tolist(), strict=True):
                            self.best[identity] = max(score, self.best.get(identity, score))
                told(hits)

            yield found


_caches: WeakValueDictionary[Path, ResponseCache] = WeakValueDictionary()
_caches_lock = threading.Lock()


def _shared_cache(path: Path) -> ResponseCache:
    """Return the open file of answers, one in the process for all retrievers of a pipeline, or open it."""
    resolved = path.resolve()
    with _caches_lock:
        cache = _caches.get(resolved)
        if cache is None:
            cache = _caches[resolved] = ResponseCache.open(resolved)
        return cache
