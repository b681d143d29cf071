"""Reranking by a chat model that scores one document at a time, as Retro* does (arXiv 2509.24869)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatAccess, ChatJob, ReadAnswer, without_thoughts
from reasonembed_rag.pipeline.chat_judge import ChatJudge
from reasonembed_rag.pipeline.judge_prompts import scoring_prompt
from reasonembed_rag.pipeline.prompt_writer import WrittenPrompt
from reasonembed_rag.tasks import TaskCard

__all__ = ["JudgingStep", "PointwiseReranker", "read_score"]

_SCORE = re.compile(r"<score>\s*(\d{1,3}(?:\.\d+)?)\s*(?:/\s*100\s*)?(?:</score>|\Z)", re.IGNORECASE)
_TAG = re.compile(r"<score>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JudgingStep:
    """Judge the `top` best documents until each has this many samples; raises InputError for values below 1."""

    top: int
    samples: int = 1

    def __post_init__(self) -> None:
        for name in ("top", "samples"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of a judging step is {getattr(self, name)}; want at least 1")


class PointwiseReranker(ChatJudge[float]):
    """Rank by the mean of the scores, 0 to 100, that a chat model gives each document; ties keep their order.

    Each step of the schedule judges the best documents of the one before it; samples that a document has already count,
    and those that it leaves stay behind those that it judges. A sample without a legible score is asked for again, then
    left out of the mean. A document without any is behind the judged ones. Ask at a temperature above 0 where a step
    takes several samples. Raises InputError for a schedule without steps or whose steps grow, and for a context too
    small for a prompt.
    """

    _name = "rerank-pointwise"

    def __init__(
        self,
        access: ChatAccess,
        *,
        task: str | TaskCard | None = None,
        schedule: Sequence[JudgingStep] = (JudgingStep(100, 1), JudgingStep(30, 16)),
    ) -> None:
        tops = [step.top for step in schedule]
        if not tops or tops != sorted(tops, reverse=True):
            raise InputError(f"the schedule judges {tops or 'nothing'}; want steps, each of no more documents")
        self.schedule = tuple(schedule)
        super().__init__(access, scoring_prompt, task=task, documents=1)

    def _reranked(self, queries: Sequence[str], hits: Sequence[Hits]) -> Sequence[Hits]:
        return self._stage.run(self._job(query, one) for query, one in zip(queries, hits, strict=True))

    def _job(self, query: str, hits: Hits) -> ChatJob[Hits]:
        judged = _Judged(list(range(len(hits))))
        for step in self.schedule:
            wanted = judged.wanted(step)
            asked = [self._request(query, hits, [one.position], sample=one.number) for one in wanted]
            scores = yield from self._stage.asking(asked)
            judged.take(step, wanted, scores)
        if not judged.scores and len(hits):
            self._stage.note(kept=1)
            return hits
        return hits.reordered(judged.order, judged.means())

    def _read(self, answer: Answer, *, prompt: WrittenPrompt) -> ReadAnswer[float]:  # noqa: ARG002 - the base's
        return read_score(answer)


@dataclass(frozen=True, slots=True)
class _Sample:
    position: int
    number: int


@dataclass(slots=True)
class _Judged:
    """One query's hits by position, in their order so far, with the scores that were read."""

    order: list[int]
    scores: dict[int, list[float]] = field(default_factory=dict)
    asked: dict[int, int] = field(default_factory=dict)

    def wanted(self, step: JudgingStep) -> list[_Sample]:
        return [
            _Sample(position, number)
            for position in self.order[: step.top]
            for number in range(self.asked.get(position, 0), step.samples)
        ]

    def take(self, step: JudgingStep, wanted: Sequence[_Sample], scores: Sequence[float | None]) -> None:
        for sample, score in zip(wanted, scores, strict=True):
            self.asked[sample.position] = sample.number + 1
            if score is not None:
                self.scores.setdefault(sample.position, []).append(score)
        top = self.order[: step.top]
        ranked = sorted((one for one in top if one in self.scores), key=lambda one: -fmean(self.scores[one]))
        self.order = [*ranked, *(one for one in top if one not in self.scores), *self.order[step.top :]]

    def means(self) -> list[float]:
        return [fmean(self.scores[one]) for one in self.order if one in self.scores]


def read_score(answer: Answer) -> ReadAnswer[float]:
    """Return the last score of an answer; a last one that is no number from 0 to 100 is unusable."""
    text = without_thoughts(answer.text)
    tags = list(_TAG.finditer(text))
    found = _SCORE.match(text, tags[-1].start()) if tags else None
    cut_off = answer.truncated and found is not None and found.end() == len(text) and not text.endswith(">")
    if found is None or cut_off or float(found.group(1)) > 100:
        return ReadAnswer(None, "truncated" if answer.truncated else "no legible score")
    return ReadAnswer(float(found.group(1)))
