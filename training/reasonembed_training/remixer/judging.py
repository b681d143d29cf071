"""Grade candidates: one or several per prompt, all of them or until many in a row are irrelevant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import OVER_CONTEXT, ChatJob, ChatReply, ChatRequest
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import JudgeConfig
from reasonembed_training.remixer.parsing import parse_grades
from reasonembed_training.remixer.prompts import judging_prompt
from reasonembed_training.remixer.records import Candidates, GeneratedQuery, JudgedCandidates, StageOutcome
from reasonembed_training.remixer.watching import Watch

__all__ = ["judging_job", "judging_waves", "stops"]

LOWEST = 1
"""The grade of a clear negative."""


def judging_job(
    card: RemixCard,
    query: GeneratedQuery,
    candidates: Candidates,
    documents: Mapping[str, Document],
    config: JudgeConfig,
    *,
    watch: Watch,
) -> ChatJob[StageOutcome[JudgedCandidates]]:
    """Grade a query's candidates, best ranked first.

    A document that an answer about several does not grade is judged alone; if it still has no grade, the prompt is sent
    again, then the document is dropped.
    """
    contents = [documents[identity].content for identity in candidates.ids]
    session = _Session(card, query.query, contents, size=config.group, watch=watch)
    judged = 0
    for wave in judging_waves(len(contents), config):
        if stops(session.in_order(), config):
            break
        yield from session.judge(wave)
        judged = wave.stop
    if not session.grades:
        return StageOutcome(None, {**session.drops, "no grade at all": 1}, retryable=session.retryable)
    record = JudgedCandidates(
        id=query.id,
        ids=tuple(candidates.ids[index] for index in sorted(session.grades)),
        grades=tuple(session.in_order()),
        unjudged=len(contents) - judged,
    )
    return StageOutcome(record, dict(session.drops), retryable=session.retryable)


def judging_waves(candidates: int, config: JudgeConfig) -> Iterator[range]:
    """Yield the indices that are judged at once: all, or at_least and then stop_after at a time."""
    if config.stop_after is None:
        yield range(candidates)
        return
    start, size = 0, config.at_least
    while start < candidates:
        yield range(start, min(start + size, candidates))
        start, size = start + size, config.stop_after


def stops(grades: Sequence[int], config: JudgeConfig) -> bool:
    """Return whether the last stop_after grades are all the lowest, so that judging stops."""
    if config.stop_after is None or len(grades) < config.stop_after:
        return False
    return all(grade == LOWEST for grade in grades[-config.stop_after :])


@dataclass(frozen=True, slots=True)
class _Group:
    """Indices of the candidates in one prompt."""

    indices: tuple[int, ...]
    attempt: int = 0


@dataclass(slots=True)
class _Session:
    """One query, its candidates' contents, and their grades so far."""

    card: RemixCard
    query: str
    contents: Sequence[str]
    size: int
    watch: Watch
    grades: dict[int, int] = field(default_factory=dict)
    drops: Counter[str] = field(default_factory=Counter)
    retryable: int = 0

    def in_order(self) -> list[int]:
        """Return the grades so far, best ranked first."""
        return [self.grades[index] for index in sorted(self.grades)]

    def judge(self, wave: range) -> ChatJob[None]:
        """Judge the candidates at these indices."""
        groups = [_Group(tuple(wave[start : start + self.size])) for start in range(0, len(wave), self.size)]
        while groups:
            now = self.watch.first.ask(len(groups))
            asked, groups = groups[:now], groups[now:]
            replies = yield [ChatRequest(self._prompt(group), group.attempt) for group in asked]
            groups += [left for group, reply in zip(asked, replies, strict=True) for left in self._take(group, reply)]

    def _prompt(self, group: _Group) -> str:
        return judging_prompt(self.card, self.query, [self.contents[index] for index in group.indices])

    def _take(self, group: _Group, reply: ChatReply) -> list[_Group]:
        """Process a reply; return the groups to judge next because of it."""
        alone = [_Group((index,)) for index in group.indices] if len(group.indices) > 1 else []
        if reply.answer is None:
            self.watch.first.lose()
            if alone and reply.reason == OVER_CONTEXT:
                return alone
            self.drops[reply.reason] += len(group.indices)
            self.retryable += 0 if reply.permanent else len(group.indices)
            return []
        inputs = "\n".join([self.query, *(self.contents[index] for index in group.indices)])
        read = parse_grades(reply.answer, self.watch.guard, documents=len(group.indices), inputs=inputs)
        self.watch.first.add(reply.answer, read.reason)
        found = read.value or {}
        self.grades.update({group.indices[number]: grade for number, grade in found.items()})
        if alone or found:
            return [left for number, left in enumerate(alone) if number not in found]
        if group.attempt < self.watch.asked_again:
            return [_Group(group.indices, group.attempt + 1)]
        self.drops[read.reason or "no legible grade"] += 1
        return []
