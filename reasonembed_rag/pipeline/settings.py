"""The stages of a pipeline as TOML: [[stage]] tables, and the chat model that they ask."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import plain_record, read_toml, record_from
from reasonembed_rag.llm import CallSettings, ChatAccess, ChatModelSettings
from reasonembed_rag.pipeline.agentic import AgenticRetriever
from reasonembed_rag.pipeline.expand_chat import DecomposingExpander, HypothesisExpander, ReasoningExpander
from reasonembed_rag.pipeline.expand_feedback import FeedbackExpander, FeedbackSettings
from reasonembed_rag.pipeline.expand_replayed import ReplayedExpander
from reasonembed_rag.pipeline.expanded import Combination, ExpandedRetriever
from reasonembed_rag.pipeline.fusion import FusionKind
from reasonembed_rag.pipeline.groupwise import GroupSettings, GroupwiseReranker
from reasonembed_rag.pipeline.iterating import IterationSettings
from reasonembed_rag.pipeline.listwise import ListwiseReranker, WindowSettings
from reasonembed_rag.pipeline.pipeline import Pipeline, PipelineStage
from reasonembed_rag.pipeline.pointwise import JudgingStep, PointwiseReranker
from reasonembed_rag.pipeline.reranked import DocumentLookup, InterpolatedReranker, RerankedRetriever
from reasonembed_rag.pipeline.state_machine import StateMachineRetriever
from reasonembed_rag.pipeline.vector_feedback import VectorFeedback
from reasonembed_rag.protocols import QueryExpander, Reranker, Retriever
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard

__all__ = ["STAGE_KINDS", "PipelineSettings", "StageContext", "StageSettings", "read_pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What stages are built with."""

    documents: DocumentLookup | None = None
    """The documents of a retriever whose hits are without."""
    queries: Mapping[str, str] | None = None
    """The queries by their ids, for recordings by id."""
    card: TaskCard = DEFAULT_CARD
    chat: ChatAccess | None = None

    def chat_for(self, kind: str) -> ChatAccess:
        """Return the chat model; raises InputError, naming the stage, where there is none."""
        if self.chat is None:
            raise InputError(f'the stage "{kind}" asks a chat model; want a table [chat] with its name')
        return self.chat


class StageSettings(Protocol):
    """One [[stage]] table."""

    kind: ClassVar[str]
    asks_chat: ClassVar[bool]

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what puts the stage around a retriever; models are loaded here. Raises InputError and ModelError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expansion:
    """What all expanding stages share: how what was written is searched (ExpandedRetriever)."""

    asks_chat: ClassVar[bool] = True

    combine: Combination = "append"
    fusion: FusionKind | None = None
    depth: int | None = None
    repeat_weight: float | None = None

    def _around(self, expander: QueryExpander) -> Callable[[Retriever], Retriever]:
        return partial(
            ExpandedRetriever,
            expander=expander,
            combine=self.combine,
            fusion=self.fusion,
            depth=self.depth,
            repeat_weight=self.repeat_weight,
            fall_back=self.asks_chat,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reasoning(_Expansion):
    kind: ClassVar[str] = "reasoning"

    samples: int = 1

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(ReasoningExpander(access, card=context.card, samples=self.samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hypothesis(_Expansion):
    kind: ClassVar[str] = "hyde"

    combine: Combination = "mean"
    documents: int = 1

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(HypothesisExpander(access, card=context.card, documents=self.documents))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decompose(_Expansion):
    kind: ClassVar[str] = "decompose"

    combine: Combination = "lists"
    parts: int = 4

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(DecomposingExpander(access, card=context.card, parts=self.parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feedback(_Expansion):
    kind: ClassVar[str] = "feedback"

    loop: FeedbackSettings = field(default_factory=FeedbackSettings)

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(
            FeedbackExpander(access, card=context.card, settings=self.loop, documents=context.documents)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replayed(_Expansion):
    kind: ClassVar[str] = "replayed"
    asks_chat: ClassVar[bool] = False

    path: Path

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        return self._around(ReplayedExpander.read(self.path, queries=context.queries))


@dataclass(frozen=True, slots=True, kw_only=True)
class _VectorFeedback:
    kind: ClassVar[str] = "vector-feedback"
    asks_chat: ClassVar[bool] = False

    depth: int = 3
    query_weight: float = 0.8

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:  # noqa: ARG002 - the protocol's
        return partial(VectorFeedback, depth=self.depth, query_weight=self.query_weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rerank:
    """What all reranking stages share (RerankedRetriever, InterpolatedReranker)."""

    asks_chat: ClassVar[bool] = True

    depth: int = 100
    weight: float | None = None
    """The share of the reranker's score beside the score before; None: the reranker's alone."""

    def _around(self, reranker: Reranker, context: StageContext) -> Callable[[Retriever], Retriever]:
        if self.weight is not None:
            reranker = InterpolatedReranker(reranker, weight=self.weight)
        return partial(
            RerankedRetriever,
            reranker=reranker,
            depth=self.depth,
            documents=context.documents,
            fall_back=self.asks_chat,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pointwise(_Rerank):
    kind: ClassVar[str] = "pointwise"

    schedule: tuple[JudgingStep, ...] = (JudgingStep(100, 1), JudgingStep(30, 16))

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(PointwiseReranker(access, task=context.card, schedule=self.schedule), context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listwise(_Rerank):
    kind: ClassVar[str] = "listwise"

    windows: WindowSettings = field(default_factory=WindowSettings)

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(ListwiseReranker(access, task=context.card, windows=self.windows), context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groupwise(_Rerank):
    kind: ClassVar[str] = "groupwise"

    groups: GroupSettings = field(default_factory=GroupSettings)

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        access = context.chat_for(self.kind)
        return self._around(GroupwiseReranker(access, task=context.card, groups=self.groups), context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CrossEncoder(_Rerank):
    kind: ClassVar[str] = "cross-encoder"
    asks_chat: ClassVar[bool] = False

    model: str
    revision: str | None = None
    device: str | None = None
    dtype: str = "auto"
    max_length: int | None = None

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        from reasonembed_rag.rerank import CrossEncoder

        reranker = CrossEncoder.from_pretrained(
            self.model, revision=self.revision, device=self.device, dtype=self.dtype, max_length=self.max_length
        )
        return self._around(reranker, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Iterating:
    """What both loops share."""

    asks_chat: ClassVar[bool] = True

    budgets: IterationSettings = field(default_factory=IterationSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StateMachine(_Iterating):
    kind: ClassVar[str] = "state-machine"

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        return partial(
            StateMachineRetriever,
            access=context.chat_for(self.kind),
            task=context.card,
            settings=self.budgets,
            documents=context.documents,
            fall_back=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agentic(_Iterating):
    kind: ClassVar[str] = "agentic"

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        return partial(
            AgenticRetriever,
            access=context.chat_for(self.kind),
            task=context.card,
            settings=self.budgets,
            documents=context.documents,
            fall_back=True,
        )


_KINDS: Sequence[type[StageSettings]] = (
    _Reasoning, _Hypothesis, _Decompose, _Feedback, _Replayed, _VectorFeedback,
    _Pointwise, _Listwise, _Groupwise, _CrossEncoder, _StateMachine, _Agentic,
)  # fmt: skip
STAGE_KINDS: Mapping[str, type[StageSettings]] = {one.kind: one for one in _KINDS}
"""The settings of each kind of stage, by what `kind` is in its table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What a pipeline's file holds beside its stages."""

    chat: ChatModelSettings | None = None
    calls: CallSettings = field(default_factory=CallSettings)
    answers: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSettings:
    """The stages of a pipeline, the first one innermost, by their names."""

    stages: Mapping[str, StageSettings]
    chat: ChatModelSettings | None = None
    """The chat model of all stages that ask one."""
    calls: CallSettings = field(default_factory=CallSettings)
    answers: Path | None = None
    """The file that keeps the chat model's answers, so that none is paid for twice."""

    @property
    def asks_chat(self) -> bool:
        """Whether a stage asks the chat model."""
        return any(stage.asks_chat for stage in self.stages.values())

    def to_json(self) -> str:
        """Return the stages and the chat model's name as one line of JSON, every default written out."""
        stages = [{"name": name, "kind": stage.kind, **plain_record(stage)} for name, stage in self.stages.items()]
        return json.dumps({"stages": stages, "chat": self.chat.name if self.chat and self.asks_chat else None})

    def build(self, retriever: Retriever, context: StageContext | None = None) -> Pipeline:
        """Return the pipeline around a retriever; models are loaded now.

        Raises InputError for a stage that asks a chat model where the context has none, and for what a stage refuses;
        ModelError for a model that cannot be loaded.
        """
        given = context or StageContext()
        stages = [PipelineStage(name, stage.around(given)) for name, stage in self.stages.items()]
        return Pipeline(retriever, stages)


def read_pipeline(path: Path) -> PipelineSettings:
    """Read a pipeline from a TOML file: [[stage]] tables with `kind`, optionally `name`, and the settings of the kind.

    A table [chat] names the chat model, [calls] says how it is called, `answers` is a file that keeps its answers.
    Paths are relative to the file's folder. Raises InputError, naming the file and the key, for kinds, keys and values
    that are not known, for two stages of one name, and for none.
    """
    table = read_toml(path, kind="pipeline", example="pipeline.toml", error=InputError)
    listed = table.pop("stage", [])
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path}: has no stage; want [[stage]] tables, each with a kind: {', '.join(STAGE_KINDS)}")
    header = record_from(_Header, table, where=str(path), error=InputError)
    stages: dict[str, StageSettings] = {}
    for number, one in enumerate(listed, start=1):
        name, stage = _stage(one, where=f"{path}, stage {number}")
        if name in stages:
            raise InputError(f'{path}: two stages are named {name}; give one a name of its own: name = "..."')
        stages[name] = stage if not isinstance(stage, _Replayed) else _resolved(stage, path.parent)
    answers = None if header.answers is None else path.parent / header.answers
    settings = PipelineSettings(stages=stages, chat=header.chat, calls=header.calls, answers=answers)
    if settings.asks_chat and settings.chat is None:
        kinds = ", ".join(stage.kind for stage in stages.values() if stage.asks_chat)
        raise InputError(f'{path}: the stages {kinds} ask a chat model; want a table [chat] with name = "..."')
    return settings


def _stage(table: Any, *, where: str) -> tuple[str, StageSettings]:
    if not isinstance(table, dict) or not isinstance(table.get("kind"), str):
        raise InputError(f"{where}: has no kind; want one of {', '.join(STAGE_KINDS)}")
    own = dict(table)
    kind = own.pop("kind")
    name = own.pop("name", kind)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: name is {name!r}; want a text")
    if kind not in STAGE_KINDS:
        close = difflib.get_close_matches(kind, STAGE_KINDS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"want one of {', '.join(STAGE_KINDS)}"
        raise InputError(f"{where}: kind is {kind!r}; {hint}")
    stage: StageSettings = record_from(STAGE_KINDS[kind], own, where=f"{where} ({kind})", error=InputError)
    return name, stage


def _resolved(stage: _Replayed, folder: Path) -> _Replayed:
    return replace(stage, path=folder / stage.path)
