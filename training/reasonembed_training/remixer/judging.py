"""Grades of candidates: one by one or several at once, all of them or until no more help is to be expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import OVER_CONTEXT, ChatJob, ChatReply, ChatRequest
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import JudgeConfig
from reasonembed_training.remixer.parsing import parse_scores
from reasonembed_training.remixer.prompts import judging_prompt
from reasonembed_training.remixer.records import Candidates, Judged, Outcome, Query

__all__ = ["judging_job", "judging_waves", "stops"]

LOWEST = 1
"""The grade of a clear negative."""


def judging_job(
    card: RemixCard,
    query: Query,
    candidates: Candidates,
    documents: Mapping[str, Document],
    config: JudgeConfig,
    *,
    asked_again: int,
) -> ChatJob[Outcome[Judged]]:
    """Grade a query's candidates, best ranked first.

    A document that an answer about several leaves without a grade is judged alone; one without a grade even then is
    asked about again, then dropped.
    """
    contents = [documents[identity].content for identity in candidates.ids]
    bench = _Bench(card, query.query, contents, size=config.group, asked_again=asked_again)
    judged = 0
    for wave in judging_waves(len(contents), config):
        if stops(bench.in_order(), config):
            break
        yield from bench.judge(wave)
        judged = wave.stop
    if not bench.grades:
        return Outcome(None, {**bench.drops, "no grade at all": 1}, passing=bench.passing)
    record = Judged(
        id=query.id,
        ids=tuple(candidates.ids[place] for place in sorted(bench.grades)),
        grades=tuple(bench.in_order()),
        unjudged=len(contents) - judged,
    )
    return Outcome(record, dict(bench.drops), passing=bench.passing)


def judging_waves(candidates: int, config: JudgeConfig) -> Iterator[range]:
    """Yield the places that are judged at once: all, or at_least and then stop_after at a time."""
    if config.stop_after is None:
        yield range(candidates)
        return
    start, size = 0, config.at_least
    while start < candidates:
        yield range(start, min(start + size, candidates))
        start, size = start + size, config.stop_after


def stops(grades: Sequence[int], config: JudgeConfig) -> bool:
    """Return whether the grades of the waves so far end in so many of the lowest that the others are not judged."""
    if config.stop_after is None or len(grades) < config.stop_after:
        return False
    return all(grade == LOWEST for grade in grades[-config.stop_after :])


@dataclass(frozen=True, slots=True)
class _Group:
    """Places judged by one answer."""

    places: tuple[int, ...]
    attempt: int = 0


@dataclass(slots=True)
class _Bench:
    """One query, its candidates' contents, and what has come of judging them so far."""

    card: RemixCard
    query: str
    contents: Sequence[str]
    size: int
    asked_again: int
    grades: dict[int, int] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    passing: int = 0

    def in_order(self) -> list[int]:
        """Return the grades of the judged, best ranked first."""
        return [self.grades[place] for place in sorted(self.grades)]

    def judge(self, wave: range) -> ChatJob[None]:
        """Judge the candidates at these places."""
        groups = [_Group(tuple(wave[start : start + self.size])) for start in range(0, len(wave), self.size)]
        while groups:
            replies = yield [ChatRequest(self._prompt(group), group.attempt) for group in groups]
            groups = [left for group, reply in zip(groups, replies, strict=True) for left in self._take(group, reply)]

    def _prompt(self, group: _Group) -> str:
        return judging_prompt(self.card, self.query, [self.contents[place] for place in group.places])

    def _take(self, group: _Group, reply: ChatReply) -> list[_Group]:
        """Take in a reply; return what is to be asked because of it."""
        alone = [_Group((place,)) for place in group.places] if len(group.places) > 1 else []
        if reply.answer is None:
            if alone and reply.reason == OVER_CONTEXT:
                return alone
            self.drops[reply.reason] += len(group.places)
            self.passing += 0 if reply.permanent else len(group.places)
            return []
        found = parse_scores(reply.answer, documents=len(group.places))
        self.grades.update({group.places[number]: grade for number, grade in found.items()})
        if alone or found:
            return [left for number, left in enumerate(alone) if number not in found]
        if group.attempt < self.asked_again:
            return [_Group(group.places, group.attempt + 1)]
        self.drops["truncated" if reply.answer.truncated else "no legible grade"] += 1
        return []
