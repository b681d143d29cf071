"""Check a model's answers before they go on: each by a guard, the first ones of a stage together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reasonembed_rag.llm import AnswerGuard, FirstAnswers, SeenAnswer
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import ModelStage
from reasonembed_training.remixer.prompts import (
    GRADES,
    judging_prompt,
    membership_prompt,
    query_prompt,
    reasoning_prompt,
)

__all__ = ["Approve", "Watch", "guard_of", "watch_of"]

Approve = Callable[[ModelStage, Sequence[SeenAnswer]], bool]
"""Is shown a stage's first answers; says whether the stage goes on."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How the answers of one stage are checked, and how often an unusable one is asked for again."""

    guard: AnswerGuard
    first: FirstAnswers
    asked_again: int


def guard_of(card: RemixCard, stage: ModelStage) -> AnswerGuard:
    """Return the guard of a stage's answers, which knows the words of its prompts.

    A judge may quote the meaning of a grade.
    """
    if stage == "judge":
        own = "\n".join(judging_prompt(card, "", [""] * count).replace(GRADES, "") for count in (1, 2))
        return AnswerGuard(own, written_tags=["score"])
    words: Mapping[ModelStage, str] = {
        "clean": membership_prompt(card, ""),
        "generate": query_prompt(card, "", length="<100", education="college"),
        "reason": reasoning_prompt(card, ""),
    }
    return AnswerGuard(words[stage])


def watch_of(
    card: RemixCard, stage: ModelStage, *, model: str, pilot: int, asked_again: int, approve: Approve | None = None
) -> Watch:
    """Return what checks the answers of a stage of a run; after the first `pilot` ones, 0 for none, it may stop."""
    first = FirstAnswers(
        pilot,
        stage=stage,
        model=model,
        otherwise=f"read them with --pilot {pilot} and decide, or go on regardless with --set pilot=0; all answers "
        "are kept",
        go_on=(lambda seen: approve(stage, seen)) if approve is not None else None,
    )
    return Watch(guard_of(card, stage), first, asked_again)
