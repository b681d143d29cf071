"""The stages: what each reads, asks and yields, and what its records depend on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import CallStats, ChatClient, ChatJob, ChatModel, ResponseCache, run_jobs
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import ModelStage, RemixConfig, Stage
from reasonembed_training.remixer.corpus import Pool
from reasonembed_training.remixer.folder import RunFolder, StageState
from reasonembed_training.remixer.judging import judging_job
from reasonembed_training.remixer.mining import MakeRetriever, mine_candidates
from reasonembed_training.remixer.prompts import judging_prompt, membership_prompt, query_prompt, reasoning_prompt
from reasonembed_training.remixer.records import (
    Candidates,
    DomainVerdict,
    GeneratedQuery,
    JudgedCandidates,
    QuerySource,
    ReasonedQuery,
    RemixRow,
    StageOutcome,
    aligned,
)
from reasonembed_training.remixer.rows import make_row
from reasonembed_training.remixer.sources import clean, sample_sources
from reasonembed_training.remixer.watching import Approve, Watch, watch_of
from reasonembed_training.remixer.writing import distinct_queries, query_job, reasoning_job

__all__ = ["RemixCallback", "StageProgress", "Stages"]

T = TypeVar("T")


class RemixCallback(Protocol):
    """Progress callbacks of a run."""

    def begin(self, stage: Stage, *, total: int | None) -> None:
        """Report that a stage begins; total is its expected number of inputs, if known."""

    def advance(self, done: int, stats: CallStats) -> None:
        """Report that an input is finished, or that a model has replied."""

    def end(self, stage: Stage, state: StageState, *, kept: bool) -> None:
        """Report that a stage is finished, or was found finished (kept)."""


@dataclass(slots=True)
class StageProgress:
    """The progress of a stage."""

    callback: RemixCallback | None
    stats: CallStats = field(default_factory=CallStats)
    done: int = 0

    def report(self) -> None:
        """Call the callback."""
        if self.callback is not None:
            self.callback.advance(self.done, self.stats)

    def count(self, outcomes: Iterable[StageOutcome[Any]]) -> Iterator[StageOutcome[Any]]:
        """Count outcomes as they pass through."""
        for outcome in outcomes:
            yield outcome
            self.done += 1
            self.report()


class Stages:
    """The stages of one run; each yields outcomes from the records of earlier stages."""

    def __init__(
        self,
        config: RemixConfig,
        card: RemixCard,
        pool: Pool,
        folder: RunFolder,
        *,
        cache: ResponseCache,
        models: Mapping[str, ChatModel],
        make_retriever: MakeRetriever,
        approve: Approve | None = None,
    ) -> None:
        self.config = config
        self.card = card
        self.pool = pool
        self.folder = folder
        self._cache = cache
        self._models = models
        self._make_retriever = make_retriever
        self._approve = approve
        self._watches: dict[Stage, Watch] = {}
        self._documents: Mapping[str, Document] = {document.id: document for document in pool.documents}

    def outcomes(self, stage: Stage, progress: StageProgress) -> Iterator[StageOutcome[Any]]:
        """Run a stage and yield its outcomes."""
        makers: Mapping[Stage, Callable[[StageProgress], Iterator[StageOutcome[Any]]]] = {
            "clean": self._clean,
            "sources": self._sources,
            "generate": self._generate,
            "reason": self._reason,
            "mine": self._mine,
            "judge": self._judge,
            "rows": self._rows,
        }
        yield from progress.count(makers[stage](progress))
        if stage in self._watches:
            self._watches.pop(stage).first.finish()

    def total(self, stage: Stage) -> int:
        """Return the number of outcomes of a stage, or its maximum."""
        states = self.folder.states()
        if stage == "clean":
            whole = self.config.sources.clean == "corpus"
            return len(self.pool.documents) if whole else min(self.config.sources.limit, len(self.pool.documents))
        before: Mapping[Stage, Stage] = {
            "generate": "sources",
            "reason": "generate",
            "mine": "generate",
            "judge": "mine",
            "rows": "judge",
        }
        return states[before[stage]].records if stage in before else self.config.sources.limit

    def inputs(self, stage: Stage) -> list[Any]:
        """Return everything that a stage's records depend on, as plain data."""
        config, card = self.config, self.card
        again = config.calls.asked_again
        sources = [asdict(config.sources), config.seed]
        example = judging_prompt(card, "query", ["document"] * config.judge.group)
        parts: Mapping[Stage, Callable[[], list[Any]]] = {
            "clean": lambda: [self.pool.identity(), sources, membership_prompt(card, "text")],
            "sources": lambda: [self.pool.identity(), sources, dict(card.lengths), dict(card.education)],
            "generate": lambda: [
                self.pool.digest,
                query_prompt(card, "document", length="<100", education="college"),
                card.name,
                again,
            ],
            "reason": lambda: [config.reasoning, reasoning_prompt(card, "query"), again],
            "mine": lambda: [self.pool.identity(), asdict(config.mine), card.instruction],
            "judge": lambda: [self.pool.digest, asdict(config.judge), example, again],
            "rows": lambda: ["excluded", asdict(config.rows), card.name, card.instruction, card.group, card.batch],
        }
        return [stage, parts[stage](), self._model_identity(stage), self._outputs_before(stage)]

    def _model_identity(self, stage: Stage) -> Any:
        model = self._models.get(stage)
        return model.identity() if model is not None else None

    def _outputs_before(self, stage: Stage) -> list[str]:
        needed: Mapping[Stage, tuple[Stage, ...]] = {
            "clean": (),
            "sources": ("clean",),
            "generate": ("sources",),
            "reason": ("generate",),
            "mine": ("clean", "generate", "reason") if self.config.mine.query == "reasoning" else ("clean", "generate"),
            "judge": ("generate", "mine"),
            "rows": ("generate", "reason", "judge"),
        }
        states = self.folder.states()
        return [states[before].output for before in needed[stage]]

    def _clean(self, progress: StageProgress) -> Iterator[StageOutcome[DomainVerdict]]:
        if self.config.sources.clean == "off":
            return iter(())
        run = partial(self._run_jobs, stage="clean", progress=progress)
        watch = self._watch("clean")
        return clean(self.pool, self.card, self.config.sources, seed=self.config.seed, run=run, watch=watch)

    def _sources(self, _: StageProgress) -> Iterator[StageOutcome[QuerySource]]:
        verdicts = self.folder.read("clean", DomainVerdict)
        return sample_sources(self.pool, self.card, self.config.sources, seed=self.config.seed, verdicts=verdicts)

    def _generate(self, progress: StageProgress) -> Iterator[StageOutcome[GeneratedQuery]]:
        watch = self._watch("generate")
        jobs = (
            query_job(self.card, source, self._documents, watch) for source in self.folder.read("sources", QuerySource)
        )
        return distinct_queries(self._run_jobs(jobs, stage="generate", progress=progress))

    def _reason(self, progress: StageProgress) -> Iterator[StageOutcome[ReasonedQuery]]:
        if not self.config.reasoning:
            return iter(())
        watch = self._watch("reason")
        jobs = (reasoning_job(self.card, query, watch) for query in self._queries())
        return self._run_jobs(jobs, stage="reason", progress=progress)

    def _mine(self, _: StageProgress) -> Iterator[StageOutcome[Candidates]]:
        config = self.config.mine
        rejected = {verdict.id for verdict in self.folder.read("clean", DomainVerdict) if not verdict.belongs}
        documents = [document for document in self.pool.documents if document.id not in rejected]
        texts = (
            (query, thoughts.reasoning_query if thoughts and config.query == "reasoning" else query.query)
            for query, thoughts in aligned(self._queries(), self.folder.read("reason", ReasonedQuery))
        )
        return mine_candidates(texts, documents, self._make_retriever(documents), depth=config.depth)

    def _judge(self, progress: StageProgress) -> Iterator[StageOutcome[JudgedCandidates]]:
        watch = self._watch("judge")
        jobs = (
            judging_job(self.card, query, candidates, self._documents, self.config.judge, watch=watch)
            for query, candidates in aligned(self._queries(), self.folder.read("mine", Candidates))
            if candidates is not None
        )
        return self._run_jobs(jobs, stage="judge", progress=progress)

    def _rows(self, _: StageProgress) -> Iterator[StageOutcome[RemixRow]]:
        reasoned = aligned(self._queries(), self.folder.read("reason", ReasonedQuery))
        judged = aligned(self._queries(), self.folder.read("judge", JudgedCandidates))
        for (query, thoughts), (_query, grades) in zip(reasoned, judged, strict=True):
            if grades is not None:
                reasoning = thoughts.reasoning_query if thoughts is not None else None
                yield make_row(self.card, query, grades, self._documents, self.config.rows, reasoning_query=reasoning)

    def _queries(self) -> Iterator[GeneratedQuery]:
        return self.folder.read("generate", GeneratedQuery)

    def _watch(self, stage: ModelStage) -> Watch:
        self._watches[stage] = watch = watch_of(
            self.card,
            stage,
            model=self._models[stage].settings.name,
            pilot=self.config.pilot,
            asked_again=self.config.calls.asked_again,
            approve=self._approve,
        )
        return watch

    def _run_jobs(self, jobs: Iterable[ChatJob[T]], *, stage: ModelStage, progress: StageProgress) -> Iterator[T]:
        client = ChatClient(
            self._models[stage],
            stage=stage,
            cache=self._cache,
            settings=self.config.calls,
            stop=threading.Event(),
        )
        return run_jobs(jobs, client, stats=progress.stats, on_reply=progress.report)
