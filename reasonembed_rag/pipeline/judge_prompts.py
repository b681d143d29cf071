"""The prompts of reranking by a chat model, per task card. Cached answers depend on them.

None holds an example that could be read as an answer: a model that repeats its prompt has said nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import enclosed, estimated_tokens
from reasonembed_rag.pipeline.expand_feedback import first_words
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard, get_task

__all__ = [
    "PromptKind",
    "PromptWriter",
    "WrittenPrompt",
    "card_of",
    "grouping_prompt",
    "ranking_prompt",
    "scoring_prompt",
]

_BYTES_PER_TOKEN = 4
_LEAST_TOKENS = 32
"""Estimated tokens of a text below which there is no point in showing it."""

PromptKind = Callable[[TaskCard, str, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt that shows documents."""

    text: str
    documents: int
    shortened: bool
    """Whether a text in it was truncated."""


@dataclass(frozen=True, slots=True)
class PromptWriter:
    """Write the prompts of one kind, `tokens` long at most; raises InputError where `documents` texts do not fit."""

    kind: PromptKind
    card: TaskCard
    tokens: int
    documents: int
    """The most documents in one prompt."""
    words: int | None = None
    """The most words of each document; None for no limit but that of the prompt."""

    def __post_init__(self) -> None:
        least = self._own_tokens(self.documents) + _LEAST_TOKENS * (self.documents + 1)
        if self.tokens < least:
            raise InputError(
                f"prompts may have {self.tokens} tokens, what the model's context leaves beside its answer; want at "
                f"least {least} for {self.documents} documents: a longer context, a smaller max_tokens or fewer "
                "documents in a prompt"
            )

    def write(self, query: str, documents: Sequence[str]) -> WrittenPrompt:
        """Return the prompt; texts that are too long are cut at their ends, the longest ones first.

        The query keeps up to half of what the prompt's own words leave.
        """
        whole = [document.strip() for document in documents]
        limited = whole if self.words is None else [first_words(document, self.words) for document in whole]
        room = self.tokens - self._own_tokens(len(documents))
        needed = sum(map(estimated_tokens, limited))
        (shown_query,) = _fitted([query], max(room // 2, room - needed))
        shown = _fitted(limited, room - estimated_tokens(shown_query))
        shortened = shown_query != query or shown != whole
        return WrittenPrompt(self.kind(self.card, shown_query, shown), len(shown), shortened)

    def shorter(self, prompt: WrittenPrompt) -> PromptWriter | None:
        """Return what writes the prompt in half the tokens; None where they are too few for its documents."""
        tokens = min(self.tokens, estimated_tokens(prompt.text)) // 2
        try:
            return replace(self, tokens=tokens, documents=prompt.documents)
        except InputError:
            return None

    def _own_tokens(self, documents: int) -> int:
        # each text may start a token of its own, and its tags may grow
        return estimated_tokens(self.kind(self.card, "", [""] * documents)) + documents + 1


def card_of(task: str | TaskCard | None) -> TaskCard:
    """Return the card of a task by name, a card itself, or one that fits any question.

    Raises UnknownTaskError, naming the known ones.
    """
    if task is None:
        return DEFAULT_CARD
    return task if isinstance(task, TaskCard) else get_task(task)


def scoring_prompt(card: TaskCard, query: str, documents: Sequence[str]) -> str:
    """Ask for a score of one document, 0 to 100 in five bands."""
    (document,) = documents
    kind, asked = card.document_type, card.query_type
    return (
        f"Rate from 0 to 100 how much a {kind} helps with a {asked}.\n"
        f"{_relevance(card)}\n\n"
        f"The {asked}:\n\n{enclosed('query', query)}\n\n"
        f"The {kind}:\n\n{enclosed('document', document)}\n\n"
        "Take three steps, in writing:\n"
        "1. Query analysis: what is at the heart of the query, and which knowledge would settle it?\n"
        f"2. Document analysis: what does the {kind} state or show, and which of that knowledge does it supply?\n"
        "3. Annotation: choose one of these bands, then a whole number within it.\n"
        "- 81 to 100: it supplies what the query turns on; an expert would build on it.\n"
        "- 61 to 80: it supplies an important part, the rest is missing or lies elsewhere.\n"
        "- 41 to 60: it supplies something of use that does not decide the matter.\n"
        "- 21 to 40: it is on the same topic, and of next to no use.\n"
        "- 0 to 20: it has nothing to do with what the query needs.\n\n"
        "Finish with the number between score tags, as in <score>NUMBER</score>."
    )


def ranking_prompt(card: TaskCard, query: str, documents: Sequence[str]) -> str:
    """Ask for the documents' numbers, most helpful first."""
    kind, asked, count = card.document_type, card.query_type, len(documents)
    return (
        f"Sort {count} texts, each a {kind}, by how much they help with a {asked}.\n"
        f"{_relevance(card)}\n\n"
        f"The {asked}:\n\n{enclosed('query', query)}\n\n"
        f"The texts:\n\n{_numbered(documents)}\n\n"
        f"Once more, the {asked} is the one between the query tags. Think about what it needs before you sort.\n"
        f"Finish with one line that has the numbers of all {count} texts, the most helpful text first, each number in "
        "square brackets, with > between them. Write nothing after it."
    )


def grouping_prompt(card: TaskCard, query: str, documents: Sequence[str]) -> str:
    """Ask for a score of every document, 0 to 10, compared with the others."""
    kind, asked, count = card.document_type, card.query_type, len(documents)
    return (
        f"Compare {count} texts, each a {kind}, and score how much each helps with a {asked}.\n"
        f"{_relevance(card)}\n\n"
        f"The {asked}:\n\n{enclosed('query', query)}\n\n"
        f"The texts:\n\n{_numbered(documents)}\n\n"
        "Scores are whole numbers from 0 (of no help) to 10 (the answer rests on it); 5 is for a text that helps with "
        "a part. Texts that help equally get the same score, a better one gets a higher one.\n"
        f"Finish with {count} lines, one for each text: its number in square brackets, a colon, its score."
    )


def _relevance(card: TaskCard) -> str:
    return (
        f"A {card.document_type} is relevant where {card.relevance}. The same words or the same topic do not make it "
        "relevant."
    )


def _numbered(documents: Sequence[str]) -> str:
    return "\n\n".join(
        f"[{number}]\n{enclosed('document', document)}" for number, document in enumerate(documents, start=1)
    )


def _fitted(texts: Sequence[str], tokens: int) -> list[str]:
    """Cut the longest texts to one length, so that all together have this many estimated tokens at most."""
    fitted = list(texts)
    left, waiting = tokens, len(texts)
    for position in sorted(range(len(texts)), key=lambda position: len(texts[position].encode())):
        share = max(left, 0) // waiting
        raw = texts[position].encode()
        if estimated_tokens(texts[position]) > share:
            fitted[position] = raw[: share * _BYTES_PER_TOKEN].decode(errors="ignore")
        left -= estimated_tokens(fitted[position])
        waiting -= 1
    return fitted
