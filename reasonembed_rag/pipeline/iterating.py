"""What retrievers that search several times share: budgets, the list that grows, the JSON that a model is shown."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatAccess, ChatJob, ChatStage, without_thoughts
from reasonembed_rag.pipeline.asks_chat import AsksChat
from reasonembed_rag.pipeline.judge_prompts import card_of
from reasonembed_rag.pipeline.prompt_writer import PromptWriter, first_words
from reasonembed_rag.pipeline.reranked import DocumentLookup, with_texts
from reasonembed_rag.protocols import Retriever, Usage, total_usage
from reasonembed_rag.tasks import TaskCard

__all__ = [
    "IteratingRetriever",
    "IterationSettings",
    "IterationTrace",
    "LoopState",
    "json_objects",
    "listed_state",
    "read_query",
]

_QUERY_LENGTH = 1000
"""Characters of a query that a model has written: more would crowd out the documents."""
_QUERIES = 4
"""The most written queries that a prompt holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationSettings:
    """Budgets per query; raises InputError for those that allow nothing."""

    start: int = 10
    """Documents of each search."""
    budget: int = 25
    """The most documents that the chat model is shown."""
    iterations: int = 8
    """The most actions of the chat model."""
    words: int = 150
    """The most words of each document that are shown."""

    def __post_init__(self) -> None:
        for name in ("start", "budget", "iterations", "words"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")
        if self.budget < self.start:
            raise InputError(f"budget is {self.budget} and start {self.start}; want a budget of at least start")


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationTrace:
    """What became of one query."""

    first: Hits
    """What the first search found."""
    hits: Hits
    """What is returned."""
    queries: tuple[str, ...]
    """The query, then those that the chat model wrote."""
    actions: int
    ended: str
    """Why the loop ended: "stop", "unchanged", "budget", "iterations", "unreadable", "no answer" or "no model"."""

    @property
    def changed(self) -> bool:
        """Whether the result differs from the first search's."""
        return self.hits.ids != self.first.ids


@dataclass(slots=True, kw_only=True)
class LoopState(ABC):
    """How far the loop of one query has come."""

    first: Hits
    """What the first search found."""
    written: list[str] = field(default_factory=list)
    """The queries that the chat model wrote."""
    actions: int = 0
    ended: str = ""
    """Why the loop ended; empty while it runs."""

    @abstractmethod
    def ranked(self, k: int) -> Hits:
        """Return the first k hits of the loop and, behind them, what the first search found besides."""


class IteratingRetriever(AsksChat, ABC):
    """Search, and let a chat model act on what was found, again and again; subclasses say what it can do."""

    _name: ClassVar[str]
    """The name of the stage that asks."""

    def __init__(
        self,
        retriever: Retriever,
        access: ChatAccess,
        *,
        task: str | TaskCard | None = None,
        settings: IterationSettings | None = None,
        documents: DocumentLookup | None = None,
        fall_back: bool = False,
    ) -> None:
        super().__init__(ChatStage(access, name=self._name))
        self.retriever = retriever
        self.settings = settings or IterationSettings()
        self._fall_back = fall_back
        self._browser = _Browser(retriever, self.settings, documents)
        self._writer = _StateWriter(self._prompt, card_of(task), self.settings, self._stage)

    def search(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[Hits]:
        """Return at most k hits for each query: what the loop ends with, then what the first search found besides.

        Raises InputError for hits without documents; ChatError and StoreError as ChatStage.ask does.
        """
        return [trace.hits for trace in self.trace(queries, k=k, excluded_ids=excluded_ids)]

    def trace(
        self, queries: Sequence[str], *, k: int, excluded_ids: Sequence[Collection[str]] | None = None
    ) -> list[IterationTrace]:
        """Search, and return how each query came to its hits; raises what search raises."""
        found = self._browser.first(queries, k, excluded_ids)
        bans = excluded_ids if excluded_ids is not None else [()] * len(queries)
        jobs = (self._job(query, first, banned, k) for query, first, banned in zip(queries, found, bans, strict=True))
        try:
            return self._stage.run(jobs)
        except ChatError as error:
            if not self._fall_back:
                raise
            self._stage.warn_once("no model", f"queries keep what they found first: {error}")
            self._stage.note(kept=len(queries))
            return [
                IterationTrace(first=hits[:k], hits=hits[:k], queries=(query,), actions=0, ended="no model")
                for query, hits in zip(queries, found, strict=True)
            ]

    def usage(self) -> Usage:
        """Return what the retriever and the chat model have used."""
        return total_usage([self.retriever, self._stage])

    @staticmethod
    @abstractmethod
    def _prompt(written: Sequence[str], card: TaskCard, query: str, inner: Sequence[str]) -> str:
        """Return the prompt for a state: the queries written so far, and the documents' texts as inner JSON."""

    @abstractmethod
    def _iterate(self, query: str, first: Hits, banned: Collection[str]) -> ChatJob[LoopState]:
        """Run the loop of one query to its end."""

    def _job(self, query: str, first: Hits, banned: Collection[str], k: int) -> ChatJob[IterationTrace]:
        state = yield from self._iterate(query, first, banned)
        trace = IterationTrace(
            first=first[:k],
            hits=state.ranked(k),
            queries=(query, *state.written),
            actions=state.actions,
            ended=state.ended,
        )
        self._stage.note(kept=not trace.changed)
        return trace


@dataclass(frozen=True, slots=True)
class _StateWriter:
    """Write prompts that show the state of a loop; raises InputError where a full list does not fit."""

    kind: Callable[[Sequence[str], TaskCard, str, Sequence[str]], str]
    card: TaskCard
    settings: IterationSettings
    stage: ChatStage

    def __post_init__(self) -> None:
        self._writer(["x" * _QUERY_LENGTH] * _QUERIES)

    def write(self, query: str, written: Sequence[str], hits: Hits) -> str:
        """Return a prompt with the latest of the written queries and the documents of the hits."""
        contents = [document.content for document in hits.documents or ()]
        texts = [" ".join(first_words(content, self.settings.words).split()) for content in contents]
        limited = any(len(text.split()) < len(content.split()) for text, content in zip(texts, contents, strict=True))
        inner = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts]
        prompt = self._writer(written[-_QUERIES:]).write(query, inner)
        self.stage.note(shortened=prompt.shortened or limited)
        return prompt.text

    def _writer(self, written: Sequence[str]) -> PromptWriter:
        kind = partial(self.kind, written)
        return PromptWriter(kind, self.card, self.stage.prompt_tokens, documents=self.settings.budget)


@dataclass(frozen=True, slots=True)
class _Browser:
    """Search for one query after another, with documents."""

    retriever: Retriever
    settings: IterationSettings
    documents: DocumentLookup | None = None

    def first(self, queries: Sequence[str], k: int, excluded_ids: Sequence[Collection[str]] | None) -> tuple[Hits, ...]:
        """Return what the retriever finds, at least as much as a list starts with; its beginning has documents."""
        found = self.retriever.search(queries, k=max(k, self.settings.start), excluded_ids=excluded_ids)
        for hits in found:
            self.listed(hits)
        return tuple(found)

    def listed(self, hits: Hits) -> Hits:
        """Return the hits that a list starts with; raises InputError where their documents are not known."""
        return with_texts(hits[: self.settings.start], self.documents)

    def again(self, query: str, excluded_ids: Collection[str]) -> Hits:
        """Return the hits of a further query."""
        (hits,) = self.retriever.search([query], k=self.settings.start, excluded_ids=[excluded_ids])
        return self.listed(hits)


def listed_state(query: str, written: Sequence[str], inner: Sequence[str]) -> str:
    """Return the JSON of a loop's state: the query, the queries written for it, numbered documents."""
    listed = ",\n".join(f'  {{"id": {number}, "text": "{text}"}}' for number, text in enumerate(inner, start=1))
    return (
        f'{{"query": {json.dumps(query, ensure_ascii=False)},\n'
        f'"written_queries": {json.dumps(list(written), ensure_ascii=False)},\n'
        f'"documents": [\n{listed}\n]}}'
    )


def json_objects(answer: Answer) -> list[dict[str, Any]]:
    """Return the JSON objects of an answer without its thoughts, in order; inner ones come with their outer one."""
    return list(_objects(without_thoughts(answer.text)))


def read_query(value: object) -> str | None:
    """Return the query that a model wrote, on one line and of bounded length; None for anything but words."""
    if not isinstance(value, str):
        return None
    query = " ".join(value.encode(errors="replace").decode().split())[:_QUERY_LENGTH].rstrip()
    return query if any(character.isalnum() for character in query) else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            found, stop = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            stop = start + 1
        else:
            yield found
        start = text.find("{", stop)
