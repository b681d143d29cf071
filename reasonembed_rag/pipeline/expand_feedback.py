"""Expand queries in rounds: a chat model reads what the search found, and what it writes is searched next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import AnswerGuard, ChatAccess, ChatStage, StageRequest
from reasonembed_rag.pipeline.asks_chat import AsksChat
from reasonembed_rag.pipeline.expand_prompts import feedback_prompt
from reasonembed_rag.pipeline.prompt_writer import PromptWriter, first_words
from reasonembed_rag.pipeline.reranked import DocumentLookup, with_texts
from reasonembed_rag.protocols import Expansion, Retriever
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard

__all__ = [
    "FeedbackExpander",
    "FeedbackSettings",
    "appended",
    "check_repeat_weight",
    "repeated",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSettings:
    """How often and how much is read; raises InputError for values below 1."""

    rounds: int = 2
    depth: int = 5
    """Documents read in a round: the best ones that no earlier round has read."""
    words: int = 128
    """Words to which each of them is cut."""
    accumulate: bool = True
    """Whether the texts of all rounds are kept, or the last one alone."""
    repeat_weight: float | None = None
    """The weight of `repeated`, for BM25; None appends what was written to the query."""

    def __post_init__(self) -> None:
        for name in ("rounds", "depth", "words"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; want at least 1")
        check_repeat_weight(self.repeat_weight)


class FeedbackExpander(AsksChat):
    """Search, let a chat model write with the best documents before it, search by that, and so on.

    As ThinkQE does (arXiv 2506.09260), with prompts of its own. `documents` gives the documents of a retriever
    whose hits are without.
    """

    def __init__(
        self,
        access: ChatAccess,
        *,
        card: TaskCard = DEFAULT_CARD,
        settings: FeedbackSettings | None = None,
        documents: DocumentLookup | None = None,
    ) -> None:
        super().__init__(ChatStage(access, name="expand: feedback"))
        self._settings = settings or FeedbackSettings()
        self._writer = PromptWriter(feedback_prompt, card, self._stage.prompt_tokens, documents=self._settings.depth)
        self._documents = documents
        self._guard = AnswerGuard(feedback_prompt(card, "", [""] * self._settings.depth))

    def expand(
        self,
        queries: Sequence[str],
        *,
        retriever: Retriever | None = None,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Expansion]:
        """Return what was written for each query; a round without a usable answer adds nothing.

        Raises InputError without a retriever, and for hits without documents, before anything is asked.
        """
        if retriever is None:
            raise InputError("expansion by feedback reads what is found; want the retriever that is asked")
        read: list[set[str]] = [set(ids) for ids in excluded_ids] if excluded_ids else [set() for _ in queries]
        written: list[Expansion] = [Expansion()] * len(queries)
        for _ in range(self._settings.rounds if queries else 0):
            texts = [self._text(query, own.queries) for query, own in zip(queries, written, strict=True)]
            found = retriever.search(texts, k=self._settings.depth, excluded_ids=read)
            answers = self._ask(queries, [self._contents(hits) for hits in found])
            for place, (hits, answer) in enumerate(zip(found, answers, strict=True)):
                read[place].update(hits.ids)
                if answer is not None:
                    kept = written[place].queries if self._settings.accumulate else ()
                    written[place] = replace(written[place], queries=(*kept, answer))
        return written

    def _ask(self, queries: Sequence[str], found: Sequence[list[str]]) -> list[str | None]:
        """Return what is written for each query; nothing where nothing new was found."""
        asked = [place for place, texts in enumerate(found) if texts]
        written = self._stage.ask([self._request(queries[place], found[place]) for place in asked])
        answers = dict(zip(asked, written, strict=True))
        return [answers.get(place) for place in range(len(queries))]

    def _request(self, query: str, found: Sequence[str]) -> StageRequest[str]:
        read = partial(self._guard.check, inputs="\n".join([query, *found]))
        return self._writer.request(self._stage, query, found, read=lambda _: read)

    def _text(self, query: str, written: Sequence[str]) -> str:
        weight = self._settings.repeat_weight
        return appended(query, written) if weight is None else repeated(query, written, weight=weight)

    def _contents(self, hits: Hits) -> list[str]:
        known = with_texts(hits, self._documents).documents or ()
        return [first_words(document.content, self._settings.words) for document in known]


def appended(query: str, texts: Sequence[str]) -> str:
    """Return the query and the texts, with blank lines between them."""
    return "\n\n".join([query, *texts])


def repeated(query: str, texts: Sequence[str], *, weight: float) -> str:
    """Return the query, repeated so that it keeps its share of the terms, and the texts, all in lower case.

    It is repeated max(1, floor(words(texts) / (words(query) * weight))) times (ThinkQE, arXiv 2506.09260). Raises
    InputError for a weight that is not above 0.
    """
    check_repeat_weight(weight)
    words = sum(len(text.split()) for text in texts)
    times = max(1, int(words / (max(1, len(query.split())) * weight)))
    return " ".join([*[query] * times, *texts]).lower()


def check_repeat_weight(weight: float | None) -> None:
    """Raise InputError for a weight that is not a number above 0."""
    if weight is not None and not 0.0 < weight < float("inf"):
        raise InputError(f"repeat_weight is {weight}; want a number above 0")
