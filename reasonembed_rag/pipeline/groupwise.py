"""Reranking by a chat model that scores groups of documents, each compared with the others of its group."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatAccess, ChatJob, ReadAnswer, without_thoughts
from reasonembed_rag.pipeline.chat_judge import ChatJudge
from reasonembed_rag.pipeline.judge_prompts import grouping_prompt
from reasonembed_rag.pipeline.prompt_writer import WrittenPrompt
from reasonembed_rag.pipeline.rankings import plain_numbers
from reasonembed_rag.tasks import TaskCard

__all__ = ["GroupSettings", "GroupwiseReranker", "read_group_scores"]

_HIGHEST = 10
_SCORED = re.compile(r"(?<!\d)(\d{1,4})[\]\")*]*\s*[:=]\s*[\"*]*(\d{1,2}(?:\.\d+)?)(?![\d.]*\d)")
"""[3]: 7, "3": 7, 3 = 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How a list is split into groups; raises InputError for values that cannot be used."""

    size: int = 10
    """The most documents of a group; groups differ by one document at most."""
    rounds: int = 3
    """How often the list is split: in its order at first, then shuffled. Each document is scored in every round."""
    words: int = 300
    """The most words of each document that are shown."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 2:
            raise InputError(f"size is {self.size}; want at least 2, as documents are compared")
        for name in ("rounds", "words"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")


class GroupwiseReranker(ChatJudge[Mapping[int, float]]):
    """Rank by the mean of the scores, 0 to 10, that documents get in overlapping groups; ties keep their order.

    Documents without any legible score are behind the others. Raises InputError for a context too small for a group.
    """

    _name = "rerank-groupwise"

    def __init__(
        self, access: ChatAccess, *, task: str | TaskCard | None = None, groups: GroupSettings | None = None
    ) -> None:
        self.groups = groups or GroupSettings()
        super().__init__(access, grouping_prompt, task=task, documents=self.groups.size, words=self.groups.words)

    def _reranked(self, queries: Sequence[str], hits: Sequence[Hits]) -> Sequence[Hits]:
        return self._stage.run(self._job(query, one) for query, one in zip(queries, hits, strict=True))

    def _job(self, query: str, hits: Hits) -> ChatJob[Hits]:
        groups = self._split(query, len(hits))
        read = yield from self._stage.asking([self._request(query, hits, group) for group in groups])
        scores: dict[int, list[float]] = {}
        for group, found in zip(groups, read, strict=True):
            self._stage.note(repaired=found is not None and len(found) < len(group))
            for number, score in (found or {}).items():
                scores.setdefault(group[number], []).append(score)
        if not scores and len(hits):
            self._stage.note(kept=1)
            return hits
        judged = sorted(sorted(scores), key=lambda position: -fmean(scores[position]))
        order = [*judged, *(position for position in range(len(hits)) if position not in scores)]
        return hits.reordered(order, [fmean(scores[position]) for position in judged])

    def _split(self, query: str, count: int) -> list[list[int]]:
        """Return the groups of all rounds, as positions of the hits."""
        if not count:
            return []
        number_of_groups = math.ceil(count / self.groups.size)
        groups = []
        for number in range(self.groups.rounds if number_of_groups > 1 else 1):
            order = list(range(count))
            if number:
                random.Random(f"{self.groups.seed} {number} {query}").shuffle(order)  # noqa: S311 - guards nothing
            edges = [count * group // number_of_groups for group in range(number_of_groups + 1)]
            groups += [order[start:stop] for start, stop in pairwise(edges)]
        return groups

    def _read(self, answer: Answer, *, prompt: WrittenPrompt) -> ReadAnswer[Mapping[int, float]]:
        return read_group_scores(answer, size=prompt.documents)


def read_group_scores(answer: Answer, *, size: int) -> ReadAnswer[Mapping[int, float]]:
    """Return the last score, 0 to 10, of each document that has one, by its position from 0.

    Scores of unknown documents and beyond 10 are dropped; an answer without any other is unusable.
    """
    scores = {
        int(number) - 1: float(score)
        for number, score in _SCORED.findall(plain_numbers(without_thoughts(answer.text)))
        if 1 <= int(number) <= size and float(score) <= _HIGHEST
    }
    if not scores:
        return ReadAnswer(None, "truncated" if answer.truncated else "no legible score")
    return ReadAnswer(scores)
