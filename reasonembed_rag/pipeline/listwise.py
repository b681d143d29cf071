"""Reranking by a chat model that sorts windows of documents, as RankGPT does (arXiv 2304.09542)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatAccess, ChatJob, ReadAnswer
from reasonembed_rag.pipeline.chat_judge import ChatJudge
from reasonembed_rag.pipeline.judge_prompts import ranking_prompt
from reasonembed_rag.pipeline.prompt_writer import WrittenPrompt
from reasonembed_rag.pipeline.rankings import Ranking, rank_sums, read_ranking, windows
from reasonembed_rag.tasks import TaskCard

__all__ = ["ListwiseReranker", "WindowSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSettings:
    """How a list is sorted in windows; raises InputError for values that cannot be used."""

    size: int = 20
    stride: int = 10
    """How far each window lies before the one that was sorted before it."""
    passes: int = 1
    """How often the list is sorted; several passes start from shuffled lists, and their ranks are added."""
    words: int = 300
    """The most words of each document that are shown."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 2 or not 1 <= self.stride <= self.size:
            raise InputError(f"size is {self.size} and stride {self.stride}; want 2 <= size and 1 <= stride <= size")
        for name in ("passes", "words"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")


class ListwiseReranker(ChatJudge[Ranking]):
    """Sort windows of the list from its back to its front; the best of each move on into the next.

    A window without a readable answer keeps its order, and a pass with such a window does not count among several.
    Several passes over shuffled lists remove the effect of positions; equal sums of ranks keep the order before. Scores
    are the number of documents that a document precedes, in the mean over passes. Raises InputError for a context too
    small for a window.
    """

    _name = "rerank-listwise"

    def __init__(
        self, access: ChatAccess, *, task: str | TaskCard | None = None, windows: WindowSettings | None = None
    ) -> None:
        self.windows = windows or WindowSettings()
        super().__init__(access, ranking_prompt, task=task, documents=self.windows.size, words=self.windows.words)

    def _reranked(self, queries: Sequence[str], hits: Sequence[Hits]) -> Sequence[Hits]:
        passes = range(self.windows.passes)
        made = self._stage.run(
            self._sort(query, one, number) for query, one in zip(queries, hits, strict=True) for number in passes
        )
        per_query = [made[start : start + len(passes)] for start in range(0, len(made), len(passes))]
        return [self._merged(one, own) for one, own in zip(hits, per_query, strict=True)]

    def _sort(self, query: str, hits: Hits, number: int) -> ChatJob[list[int] | None]:
        """Return the positions of the hits as one pass sorts them; None where the pass does not count."""
        order = list(range(len(hits)))
        if len(hits) < 2:
            return order
        if self.windows.passes > 1:
            random.Random(f"{self.windows.seed} {number} {query}").shuffle(order)  # noqa: S311 - guards nothing
        answered = missing = 0
        for window in windows(len(hits), size=self.windows.size, stride=self.windows.stride):
            shown = order[window]
            (read,) = yield from self._stage.asking([self._request(query, hits, shown)])
            if read is None:
                missing += 1
                continue
            answered += 1
            self._stage.note(repaired=read.repaired)
            order[window] = [shown[position] for position in read.order]
        return order if answered and not (missing and self.windows.passes > 1) else None

    def _read(self, answer: Answer, *, prompt: WrittenPrompt) -> ReadAnswer[Ranking]:
        return read_ranking(answer, size=prompt.documents, prompt=prompt.text)

    def _merged(self, hits: Hits, passes: Sequence[list[int] | None]) -> Hits:
        counted = [order for order in passes if order is not None]
        if not counted:
            self._stage.note(kept=1)
            return hits
        sums = rank_sums(counted)
        order = sorted(range(len(hits)), key=sums.__getitem__)
        scores = [len(hits) - sums[position] / len(counted) for position in order]
        return hits.reordered(order, scores)
