"""Propose the stages of a pipeline: by corpus, time and chat model, with what is known of each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from reasonembed_rag.errors import InputError, want_one_of
from reasonembed_rag.llm import ChatModelSettings
from reasonembed_rag.pipeline import plan_evidence as known
from reasonembed_rag.pipeline.plan_evidence import Evidence

__all__ = ["LeftOutStage", "PipelinePlan", "PlanRequest", "PlannedStage", "Questions", "plan_pipeline"]

Questions = Literal["unknown", "explanations", "documentation", "mathematics", "coding-problems"]
"""What is asked for: unknown or mixed; what explains an everyday problem, as on StackExchange; a manual's page;
problems of the same theorem; problems of the same algorithm."""

_HARMED: tuple[Questions, ...] = ("mathematics", "coding-problems")
_QUERY_TOKENS = 100
_REASONING_TOKENS = 985
"""Of a reasoning text in ReasonEmbed's data."""
_PROMPT_TOKENS = 250
"""Of a prompt's own words."""
_READ_AT_ONCE = 20
"""Prompt tokens read in the time that one is written: an estimate."""
_DOCUMENT_TOKENS = 250
_ENRICHMENT_TOKENS = 180
"""Of what a chat model writes of a document: 80 to 150 words."""
_WINDOW, _STRIDE = 20, 10
_WINDOW_ANSWER = 120
"""Tokens of an answer that names 20 numbers."""
_LEAST_DEPTH = 10
_DEPTHS = (100, 60, 40, 20)
_RERANKER = "lightonai/Reason-ModernColBERT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a pipeline is planned for; raises InputError for values that cannot be, and for too little time."""

    documents: int
    retriever_seconds: float | None = None
    """Seconds that the retriever takes for a query; None: an estimate by its number of documents."""
    seconds: float | None = None
    """The time that a query may take; None for any."""
    questions: Questions = "unknown"
    chat: ChatModelSettings | None = None
    tokens_per_second: float = 50.0
    """What the chat model writes."""
    reranker: str = _RERANKER
    """The model of late interaction, for plans without a chat model."""
    pair_seconds: float = 0.3
    """What it takes for a document."""

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise InputError(f"the corpus has {self.documents} documents; want at least 1")
        if self.questions not in get_args(Questions):
            raise InputError(f"questions is {self.questions!r}; {want_one_of(self.questions, get_args(Questions))}")
        for name in ("tokens_per_second", "pair_seconds", "seconds", "retriever_seconds"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise InputError(f"{name} is {value}; want a number above 0")
        if self.seconds is not None and self.seconds < self.retriever:
            raise InputError(
                f"a query may take {1000 * self.seconds:.1f} ms, and the retriever alone takes about "
                f"{1000 * self.retriever:.1f} ms over {self.documents:,} documents; want more time, a smaller model or "
                "an approximate index"
            )

    @property
    def retriever(self) -> float:
        """Seconds that the retriever takes for a query."""
        return 0.01 + 1.1e-7 * self.documents if self.retriever_seconds is None else self.retriever_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A proposed stage: its table in a pipeline's file, why, and what it takes for a query by estimate."""

    table: Mapping[str, Any]
    reason: str
    evidence: tuple[Evidence, ...]
    seconds: float
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutStage:
    """A stage that is not proposed, and why."""

    kind: str
    reason: str
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinePlan:
    """The proposed stages, the first one innermost, and what was decided against."""

    request: PlanRequest
    stages: tuple[PlannedStage, ...]
    left_out: tuple[LeftOutStage, ...]
    routed: tuple[PlannedStage, ...] = ()
    """Stages that harm some questions: for an arm of a router that `reasonembed calibrate` learns."""
    bm25: tuple[Evidence, ...] = field(default=known.BM25_HYBRID)
    """Why the retriever searches words too."""

    @property
    def seconds(self) -> float:
        """The estimated time of a query."""
        return self.request.retriever + sum(stage.seconds for stage in self.stages)

    @property
    def cost_of_thousand(self) -> float | None:
        """The estimated price of 1,000 queries; None without prices or a chat model."""
        chat = self.request.chat
        if chat is None:
            return None
        read = sum(stage.input_tokens for stage in self.stages)
        written = sum(stage.output_tokens for stage in self.stages)
        return chat.cost(input_tokens=1000 * read, output_tokens=1000 * written)

    @property
    def enrichment_tokens(self) -> tuple[int, int]:
        """The estimated tokens read and written once, where all documents are enriched (`index --enrich`)."""
        documents = self.request.documents
        return documents * (_PROMPT_TOKENS + _DOCUMENT_TOKENS), documents * _ENRICHMENT_TOKENS


def plan_pipeline(request: PlanRequest) -> PipelinePlan:
    """Propose stages that fit into the time, of those that published or our own figures do not speak against.

    Estimates of time are for one query alone; `reasonembed ablate` measures what the stages give and take.
    """
    stages: list[PlannedStage] = []
    routed: list[PlannedStage] = []
    left_out: list[LeftOutStage] = []
    room = math.inf if request.seconds is None else request.seconds - request.retriever
    if request.chat is None:
        left_out.append(LeftOutStage(kind="reasoning", reason="asks a chat model, and there is none"))
    else:
        expansion = _reasoning(request)
        if request.questions in _HARMED:
            routed.append(expansion)
            reason = f"hurts {request.questions}: route queries to it where it helps, as `reasonembed calibrate` learns"
            left_out.append(LeftOutStage(kind="reasoning", reason=reason, evidence=known.REASONING_HURTS))
        elif expansion.seconds > room:
            left_out.append(_too_slow("reasoning", expansion.seconds, room))
        else:
            stages.append(expansion)
            room -= expansion.seconds
    reranker, refused = _reranking(request, room)
    stages += reranker
    left_out += refused
    return PipelinePlan(request=request, stages=tuple(stages), left_out=(*left_out, *_NEVER), routed=tuple(routed))


def _reasoning(request: PlanRequest) -> PlannedStage:
    read, written = _PROMPT_TOKENS + _QUERY_TOKENS, _REASONING_TOKENS
    unsure = request.questions == "unknown"
    return PlannedStage(
        table={"kind": "reasoning", "combine": "append"},
        reason="the chat model reasons about the question first"
        + ("; it helps most kinds of questions and hurts mathematics: name yours with questions" if unsure else ""),
        evidence=(*known.REASONING_HELPS, *(known.REASONING_HURTS if unsure else ())),
        seconds=_call_seconds(request, read, written),
        calls=1,
        input_tokens=read,
        output_tokens=written,
    )


def _reranking(request: PlanRequest, room: float) -> tuple[list[PlannedStage], list[LeftOutStage]]:
    """Return a listwise judge as deep as the time allows or, where there is none, late interaction."""
    left_out: list[LeftOutStage] = []
    if request.chat is not None:
        judges = [_listwise(request, depth) for depth in sorted({min(one, request.documents) for one in _DEPTHS})]
        fitting = [judge for judge in judges if judge.seconds <= room and judge.table["depth"] > 1]
        if fitting:
            return fitting[-1:], [_pointwise_left_out()]
        left_out.append(_too_slow("listwise", judges[0].seconds, room))
    depth = int(min(100, request.documents, room // request.pair_seconds if room < math.inf else 100))
    if depth < min(_LEAST_DEPTH, request.documents) or depth < 2:
        needed = min(_LEAST_DEPTH, request.documents) * request.pair_seconds
        return [], [*left_out, _too_slow("late-interaction", needed, room)]
    stage = PlannedStage(
        table={"kind": "late-interaction", "model": request.reranker, "depth": depth},
        reason=f"compares all tokens of the {depth} best documents; no chat model; {_known_of(request.reranker)}",
        evidence=(*known.LATE_INTERACTION, known.PAIR_SECONDS),
        seconds=depth * request.pair_seconds,
    )
    return [stage], left_out


def _known_of(model: str) -> str:
    """Return what should be known of a reranker before it is used."""
    if Path(model).is_dir():
        return f"{model} is not measured here"
    size = "149M weights, about 0.6 GB, are" if model == _RERANKER else "it is"
    return f"{size} downloaded at the first search; not measured here"


def _listwise(request: PlanRequest, depth: int) -> PlannedStage:
    windows = 1 + math.ceil(max(0, depth - _WINDOW) / _STRIDE)
    read = windows * (_PROMPT_TOKENS + _QUERY_TOKENS + min(depth, _WINDOW) * _DOCUMENT_TOKENS)
    return PlannedStage(
        table={"kind": "listwise", "depth": depth},
        reason=f"the chat model orders the {depth} best documents"
        + (f", in {windows} windows one after the other" if windows > 1 else ""),
        evidence=known.LISTWISE,
        seconds=_call_seconds(request, read, windows * _WINDOW_ANSWER),
        calls=windows,
        input_tokens=read,
        output_tokens=windows * _WINDOW_ANSWER,
    )


def _call_seconds(request: PlanRequest, read: int, written: int) -> float:
    return (written + read / _READ_AT_ONCE) / request.tokens_per_second


def _too_slow(kind: str, needed: float, room: float) -> LeftOutStage:
    return LeftOutStage(kind=kind, reason=f"takes about {needed:.1f} s, and {max(room, 0.0):.1f} s are left for it")


def _pointwise_left_out() -> LeftOutStage:
    return LeftOutStage(
        kind="pointwise",
        reason="580 calls a query; in place of listwise where cost is no matter",
        evidence=known.POINTWISE,
    )


_NEVER = (
    LeftOutStage(kind="vector-feedback", reason="not shown to help", evidence=known.VECTOR_FEEDBACK),
    LeftOutStage(kind="near-duplicates", reason="hurts alone", evidence=known.NEAR_DUPLICATES),
    LeftOutStage(
        kind="trust-filter",
        reason="hurts where nobody poisons the documents; add it where others may write to them",
        evidence=known.TRUST_FILTER,
    ),
    LeftOutStage(kind="dense-reasoner", reason="has to be trained first: reasonembed train reasoner"),
    LeftOutStage(
        kind="agentic",
        reason="many calls one after the other; try it where time is no matter",
        evidence=known.ITERATION,
    ),
)
