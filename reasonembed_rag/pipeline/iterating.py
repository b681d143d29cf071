"""What retrievers that search several times share: budgets, the list that grows, the JSON that a model is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatStage, without_thoughts
from reasonembed_rag.pipeline.expand_feedback import first_words
from reasonembed_rag.pipeline.judge_prompts import PromptWriter
from reasonembed_rag.pipeline.reranked import DocumentLookup, with_texts
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.tasks import TaskCard

__all__ = [
    "Browser",
    "IterationSettings",
    "IterationTrace",
    "StatePrompt",
    "StateWriter",
    "json_objects",
    "listed_state",
    "read_query",
    "without_a_model",
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


def without_a_model(
    queries: Sequence[str], found: Sequence[Hits], k: int, *, stage: ChatStage, error: ChatError
) -> list[IterationTrace]:
    """Return traces of queries that keep what they found first, which is counted and logged."""
    stage.warn_once("no model", f"queries keep what they found first: {error}")
    stage.note(kept=len(queries))
    return [
        IterationTrace(first=hits[:k], hits=hits[:k], queries=(query,), actions=0, ended="no model")
        for query, hits in zip(queries, found, strict=True)
    ]


StatePrompt = Callable[[Sequence[str], TaskCard, str, Sequence[str]], str]
"""From the queries that were written so far, the task, the query and the documents' texts as inner JSON."""


@dataclass(frozen=True, slots=True)
class StateWriter:
    """Write prompts that show the state of a loop; raises InputError where a full list does not fit."""

    kind: StatePrompt
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
class Browser:
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
