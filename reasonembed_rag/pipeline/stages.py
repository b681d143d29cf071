"""Kinds of stages as they are written in a pipeline's file, and how each is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from reasonembed_rag.pipeline.agentic import AgenticRetriever
from reasonembed_rag.pipeline.dense_reasoner import DenseReasoner
from reasonembed_rag.pipeline.expand_chat import DecomposingExpander, HypothesisExpander, ReasoningExpander
from reasonembed_rag.pipeline.expand_feedback import FeedbackExpander, FeedbackSettings
from reasonembed_rag.pipeline.expand_replayed import ReplayedExpander
from reasonembed_rag.pipeline.expanded import Combination, ExpandedRetriever
from reasonembed_rag.pipeline.filter_stages import HubnessStage, NearDuplicatesStage, TrustStage
from reasonembed_rag.pipeline.fusion import FusionKind
from reasonembed_rag.pipeline.fusion_stage import FusionStage
from reasonembed_rag.pipeline.groupwise import GroupSettings, GroupwiseReranker
from reasonembed_rag.pipeline.iterating import IterationSettings
from reasonembed_rag.pipeline.listwise import ListwiseReranker, WindowSettings
from reasonembed_rag.pipeline.pointwise import JudgingStep, PointwiseReranker
from reasonembed_rag.pipeline.reasoned import ReasonedRetriever
from reasonembed_rag.pipeline.reranked import InterpolatedReranker, RerankedRetriever
from reasonembed_rag.pipeline.router_stage import RouterStage
from reasonembed_rag.pipeline.stage_context import StageContext, StageSettings
from reasonembed_rag.pipeline.state_machine import StateMachineRetriever
from reasonembed_rag.pipeline.vector_feedback import VectorFeedback
from reasonembed_rag.protocols import QueryExpander, Reranker, Retriever

__all__ = ["STAGE_KINDS"]


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
    optional: bool = False
    """Whether a task of which nothing is recorded is searched as it is, instead of refused."""

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        return self._around(ReplayedExpander.read(self.path, queries=context.queries, optional=self.optional))


@dataclass(frozen=True, slots=True, kw_only=True)
class _VectorFeedback:
    kind: ClassVar[str] = "vector-feedback"
    asks_chat: ClassVar[bool] = False

    depth: int = 3
    query_weight: float = 0.8

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:  # noqa: ARG002 - the protocol's
        return partial(VectorFeedback, depth=self.depth, query_weight=self.query_weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class _DenseReasoner:
    kind: ClassVar[str] = "dense-reasoner"
    asks_chat: ClassVar[bool] = False

    path: Path

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:  # noqa: ARG002 - the protocol's
        return partial(ReasonedRetriever, reasoner=DenseReasoner.load(self.path))


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
class _Model(_Rerank):
    """What all rerankers that are models share."""

    asks_chat: ClassVar[bool] = False

    model: str
    revision: str | None = None
    device: str | None = None
    dtype: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CrossEncoder(_Model):
    kind: ClassVar[str] = "cross-encoder"

    max_length: int | None = None

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        from reasonembed_rag.rerank import CrossEncoder

        reranker = CrossEncoder.from_pretrained(
            self.model, revision=self.revision, device=self.device, dtype=self.dtype, max_length=self.max_length
        )
        return self._around(reranker, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _YesNo(_Model):
    kind: ClassVar[str] = "yes-no"

    max_length: int | None = None

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        from reasonembed_rag.rerank import YesNoReranker

        reranker = YesNoReranker.from_pretrained(
            self.model,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            max_length=self.max_length,
            instruction=context.card.instruction,
        )
        return self._around(reranker, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LateInteraction(_Model):
    kind: ClassVar[str] = "late-interaction"

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        from reasonembed_rag.rerank import LateInteraction

        reranker = LateInteraction.from_pretrained(
            self.model, revision=self.revision, device=self.device, dtype=self.dtype
        )
        return self._around(reranker, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StateMachine:
    kind: ClassVar[str] = "state-machine"
    asks_chat: ClassVar[bool] = True

    budgets: IterationSettings = field(default_factory=IterationSettings)

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
class _Agentic:
    kind: ClassVar[str] = "agentic"
    asks_chat: ClassVar[bool] = True

    budgets: IterationSettings = field(default_factory=IterationSettings)

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
    _Reasoning, _Hypothesis, _Decompose, _Feedback, _Replayed, _VectorFeedback, _DenseReasoner,
    _Pointwise, _Listwise, _Groupwise, _CrossEncoder, _YesNo, _LateInteraction, _StateMachine, _Agentic,
    FusionStage, TrustStage, NearDuplicatesStage, HubnessStage, RouterStage,
)  # fmt: skip
STAGE_KINDS: Mapping[str, type[StageSettings]] = {one.kind: one for one in _KINDS}
"""The settings of each kind of stage, by what `kind` is in its table."""
