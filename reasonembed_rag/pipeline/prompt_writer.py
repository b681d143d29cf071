"""Write prompts that fit a model's context: the texts in them are cut, and cut again where a server refuses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer, ChatStage, ReadAnswer, StageRequest, estimated_tokens
from reasonembed_rag.tasks import TaskCard

__all__ = ["PromptKind", "PromptWriter", "WrittenPrompt", "first_words"]

T = TypeVar("T")

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

    def request(
        self,
        stage: ChatStage,
        query: str,
        documents: Sequence[str] = (),
        *,
        read: Callable[[WrittenPrompt], Callable[[Answer], ReadAnswer[T]]],
        sample: int = 0,
    ) -> StageRequest[T]:
        """Return what a stage asks, in half the tokens again and again where the model refuses it as too long.

        `read` returns for a prompt what reads its answer. Prompts with less than the whole texts are counted.
        """
        prompt = self.write(query, documents)
        stage.note(shortened=prompt.shortened)

        def shorter() -> StageRequest[T] | None:
            less = self.shorter(prompt)
            return None if less is None else less.request(stage, query, documents, read=read, sample=sample)

        return StageRequest(prompt.text, read(prompt), sample, shorter=shorter)

    def _own_tokens(self, documents: int) -> int:
        # each text may start a token of its own, and its tags may grow
        return estimated_tokens(self.kind(self.card, "", [""] * documents)) + documents + 1


def first_words(text: str, count: int) -> str:
    """Return a text up to its count-th word, as it is written."""
    text = text.strip()
    words = text.split(maxsplit=count)
    return text if len(words) <= count else text[: -len(words[-1])].rstrip()


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
