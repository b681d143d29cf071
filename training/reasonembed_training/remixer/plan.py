"""Plan a run before anything is sent: calls, tokens, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import ChatModelSettings, TokenUsage, estimated_tokens
from reasonembed_training.remixer.cards import RemixCard, load_card
from reasonembed_training.remixer.config import MODEL_STAGES, ModelStage, RemixConfig, Stage, stage_config
from reasonembed_training.remixer.corpus import Pool, open_pool
from reasonembed_training.remixer.folder import RunFolder, StageState
from reasonembed_training.remixer.prompts import judging_prompt, membership_prompt, query_prompt, reasoning_prompt
from reasonembed_training.remixer.sources import eligible_sources

__all__ = ["Plan", "StagePlan", "make_plan"]

_SAMPLE = 200
_TOKENS_PER_WORD = 1.35
_REASONING_TOKENS = 985
"""The mean of the published set."""
_VERDICT_TOKENS = 3
_JUDGEMENT_TOKENS = 400
_FURTHER_JUDGEMENT_TOKENS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """The calls of a stage, and how many of them are answered already."""

    stage: ModelStage
    model: str | None
    calls: int
    answered: int
    input_tokens: int
    """Of the remaining calls."""
    output_tokens: int
    cost: float | None
    """Of the remaining calls; None without prices."""
    over_context: int = 0
    """Documents that are too long for its model and will be dropped."""
    minutes: float | None = None
    """The shortest time that the model's rate limits allow for the remaining calls."""
    measured: bool = False
    """Whether tokens per call are measured on the answers so far, not estimated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run, by stage."""

    card: str
    documents: int
    """Documents that may be candidates."""
    left_out: Mapping[str, int]
    eligible: int
    """Documents that may be sources."""
    sources: int
    stages: tuple[StagePlan, ...]

    @property
    def cost(self) -> float | None:
        """The cost of all remaining calls; None if that of a stage is unknown."""
        costs = [stage.cost for stage in self.stages if stage.calls > stage.answered]
        return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


def make_plan(config: RemixConfig) -> Plan:
    """Count the calls of a run and estimate their tokens; nothing is sent and no model is needed.

    Calls are counted as if every document belonged to the domain and every answer could be parsed: documents outside
    the domain are replaced by others, and dropped records cause no further calls. Tokens are estimates (a quarter of
    the bytes; published lengths of answers) until the folder has answers to measure. Raises what remix raises for a
    corpus, card or folder that cannot be used.
    """
    card = load_card(config.card)
    pool = open_pool(config, card=card.name)
    eligible = eligible_sources(pool, config.sources, seed=config.seed)
    sources = min(config.sources.limit, len(eligible))
    folder = RunFolder(config.out)
    states = folder.states()
    queries = states["generate"].records if "generate" in states else sources
    calls = _calls(config, pool, sources=sources, queries=queries, states=states)
    tokens_of = _call_tokens(config, card, sources=eligible[:_SAMPLE], candidates=_spread(pool.documents))
    spent = _spent(config, folder, pool)
    return Plan(
        card=card.name,
        documents=len(pool.documents),
        left_out=pool.drops,
        eligible=len(eligible),
        sources=sources,
        stages=tuple(
            _stage_plan(
                stage, _model(config, stage), calls[stage], tokens=tokens_of[stage], spent=spent.get(stage), pool=pool
            )
            for stage in MODEL_STAGES
            if config.asks(stage)
        ),
    )


@dataclass(frozen=True, slots=True)
class _CallTokens:
    """Mean tokens of one call."""

    input_tokens: float
    output_tokens: float


def _calls(
    config: RemixConfig, pool: Pool, *, sources: int, queries: int, states: Mapping[Stage, StageState]
) -> dict[ModelStage, int]:
    depth = min(config.mine.depth, max(0, len(pool.documents) - 1))
    return {
        "clean": len(pool.documents) if config.sources.clean == "corpus" else sources,
        "generate": states["sources"].records if "sources" in states else sources,
        "reason": queries,
        "judge": queries * math.ceil(depth / config.judge.group),
    }


def _call_tokens(
    config: RemixConfig, card: RemixCard, *, sources: Sequence[Document], candidates: Sequence[Document]
) -> dict[ModelStage, _CallTokens]:
    words = _mean_words(card.lengths)
    query = "word " * round(words)
    group = config.judge.group
    grouped = [candidates[start : start + group] for start in range(0, len(candidates) - group + 1, group)]
    judged = [
        judging_prompt(card, query, [document.content for document in documents])
        for documents in grouped or [candidates]
    ]
    membership = [membership_prompt(card, document.content) for document in sources]
    writing = [query_prompt(card, document.content, length="200-300", education="college") for document in sources]
    return {
        "clean": _CallTokens(_mean_tokens(membership), _VERDICT_TOKENS),
        "generate": _CallTokens(_mean_tokens(writing), words * _TOKENS_PER_WORD),
        "reason": _CallTokens(_mean_tokens([reasoning_prompt(card, query)]), _REASONING_TOKENS),
        "judge": _CallTokens(_mean_tokens(judged), _JUDGEMENT_TOKENS + (group - 1) * _FURTHER_JUDGEMENT_TOKENS),
    }


def _stage_plan(
    stage: ModelStage,
    model: ChatModelSettings | None,
    calls: int,
    *,
    tokens: _CallTokens,
    spent: TokenUsage | None,
    pool: Pool,
) -> StagePlan:
    answered = spent.calls if spent is not None else 0
    if spent is not None and answered:
        tokens = _CallTokens(spent.input_tokens / answered, spent.output_tokens / answered)
    left = max(0, calls - answered)
    input_tokens, output_tokens = round(left * tokens.input_tokens), round(left * tokens.output_tokens)
    return StagePlan(
        stage=stage,
        model=model.name if model is not None else None,
        calls=calls,
        answered=min(calls, answered),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=model.cost(input_tokens=input_tokens, output_tokens=output_tokens) if model is not None else None,
        over_context=_over_context(model, pool) if model is not None else 0,
        minutes=_minutes(model, left, input_tokens + output_tokens) if model is not None else None,
        measured=answered > 0,
    )


def _model(config: RemixConfig, stage: ModelStage) -> ChatModelSettings | None:
    named = config.model_of(stage)
    return stage_config(named, stage) if named is not None else None


def _over_context(model: ChatModelSettings, pool: Pool) -> int:
    room = model.context - model.max_output_tokens
    return sum(estimated_tokens(document.content) > room for document in pool.documents)


def _minutes(model: ChatModelSettings, calls: int, tokens: int) -> float | None:
    limits = [(calls, model.requests_per_minute), (tokens, model.tokens_per_minute)]
    return max((amount / limit for amount, limit in limits if limit is not None), default=None)


def _spent(config: RemixConfig, folder: RunFolder, pool: Pool) -> dict[ModelStage, TokenUsage]:
    """Return the token usage that the folder's response cache holds of each stage's model."""
    if not folder.cache_file.is_file():
        return {}
    with folder.open_cache(corpus=pool.digest) as cache:
        named = [(stage, config.model_of(stage)) for stage in MODEL_STAGES]
        return {stage: cache.usage(stage=stage, model=model.name) for stage, model in named if model is not None}


def _mean_words(lengths: Mapping[str, float]) -> float:
    """Return the mean of a card's lengths: the middle of a range, 0.6 and 1.2 of an open one."""
    total = sum(lengths.values())
    return sum(_middle(length) * weight for length, weight in lengths.items()) / total


def _middle(length: str) -> float:
    if length.startswith("<"):
        return 0.6 * float(length[1:])
    if length.startswith(">="):
        return 1.2 * float(length[2:])
    low, high = length.split("-")
    return (float(low) + float(high)) / 2


def _mean_tokens(prompts: Sequence[str]) -> float:
    return fmean(estimated_tokens(prompt) for prompt in prompts)


def _spread(documents: Sequence[Document]) -> Sequence[Document]:
    """Return a sample of documents, evenly spread."""
    return documents[:: max(1, len(documents) // _SAMPLE)]
