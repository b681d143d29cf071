"""Tell usable answers of a chat model from empty ones, echoes of the prompt, its markers, and talk to the asker."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from reasonembed_rag.llm.chat import Answer

__all__ = ["AnswerGuard", "ReadAnswer", "enclosed", "refuses", "without_thoughts"]

T = TypeVar("T")

_THOUGHTS = re.compile(r"\A.*</think(?:ing)?>|\A\s*<think(?:ing)?>.*", re.DOTALL)
_REFUSAL = re.compile(
    r"(?:(?:I['\u2019]?m|I am)?\s*sorry|apologies|unfortunately)?[,.]?\s*(?:but\s+)?"
    r"(?:as an AI\b|I\s*(?:can['\u2019]?t|cannot|can not|(?:am|['\u2019]m) unable to|won['\u2019]t)\s+"
    r"(?:help|assist|comply|provide|fulfil|write|create|generate|produce|complete|do that))",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"\b(?:I(?:['\u2019]m| am) (?:ready|here) to\b|(?:happy|glad|ready) to (?:help|assist)\b"
    r"|how (?:can|may) I (?:help|assist)\b|what\b[^.?!]*\b(?:would you|you['\u2019]d|you would) like (?:me )?to "
    r"(?:ask|know|learn|do|discuss|explore|talk)\b|I hope (?:this|that|it) helps\b|as an AI\b"
    r"|let me know (?:if|what|how)\b"
    r"|please (?:provide|share|paste|send)\b.*\b(?:query|question|text|passage|document|details|information|context)\b)"
    r"|\A(?:sure|certainly|of course|absolutely)[,!.]?(?:\Z|\s.*\b(?:here|below|I)\b[^.?]*[!.:]\Z)"
    r"|\A(?:here(?:['\u2019]s| is| are)|below (?:is|are))\b[^.?]*:\Z",
    re.IGNORECASE | re.DOTALL,
)
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\s*\n\s*")
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9_]*)[^<>\n]{0,40}>")
_CONTROL = re.compile(r"<\|[^|<>\s]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>")
_WORD = re.compile(r"\w+")

_GRAM = 5
"""Words in a row that an answer shares with the prompt by copying, hardly by chance."""
_ECHOED = 0.25
"""The share of an answer's words in such rows from which on it is an echo: a heading or two in a long one are none."""
_LOOPED = 0.5
"""The share of rows of words that occurred before from which on an answer runs in a loop, as small models' do."""
_LEAST_LOOPED = 30
"""Words; a shorter answer may say a thing twice."""
_TALKED = 0.5
"""The share of words said to the asker from which on too little else is left."""


@dataclass(frozen=True, slots=True)
class ReadAnswer(Generic[T]):
    """What was read from an answer, or the reason why it is unusable: one of few texts, by which they are counted."""

    value: T | None
    reason: str | None = None


class AnswerGuard:
    """Check the answers to prompts of one kind.

    `own_words` is the prompt with nothing filled in: what an answer may not consist of. `written_tags` are the tags
    that an answer is asked to write.
    """

    def __init__(self, own_words: str, *, written_tags: Collection[str] = ()) -> None:
        self._grams = set(_grams(_words(own_words)))
        self._markers = {name.lower() for name in _TAG.findall(own_words)} - set(written_tags)

    def check(self, answer: Answer, *, inputs: str = "") -> ReadAnswer[str]:
        """Return an answer's text without thoughts, and without what it says to the asker first and last.

        `inputs` are the texts that were filled into the prompt: what stands in them is no marker of the prompt.
        """
        text = without_thoughts(answer.text)
        if not any(character.isalnum() for character in text):
            return ReadAnswer(None, "truncated" if answer.truncated and answer.text.strip() else "empty")
        if refuses(text):
            return ReadAnswer(None, "refused")
        bare = _without_talk(text)
        if len(_words(bare)) <= (1 - _TALKED) * len(_words(text)):
            return ReadAnswer(None, "talks to the asker")
        if _loops(bare):
            return ReadAnswer(None, "repeats itself")
        copied = self.copied(bare, inputs=inputs)
        return ReadAnswer(bare) if copied is None else ReadAnswer(None, copied)

    def copied(self, text: str, *, inputs: str = "") -> str | None:
        """Return what a text has of the prompt itself, as a reason why it is unusable; None if nothing."""
        if self._holds_marker(text, inputs):
            return "holds markers of the prompt"
        return "repeats the prompt" if self._echoed(text) >= _ECHOED else None

    def _holds_marker(self, text: str, inputs: str) -> bool:
        given = {name.lower() for name in _TAG.findall(inputs)}
        tags = {name.lower() for name in _TAG.findall(text)} & self._markers - given
        return bool(tags) or any(mark not in inputs for mark in _CONTROL.findall(text))

    def _echoed(self, text: str) -> float:
        """Return the share of the words that lie in a row of words of the prompt's own."""
        words = _words(text)
        copied: set[int] = set()
        for start, gram in enumerate(_grams(words)):
            if gram in self._grams:
                copied.update(range(start, start + _GRAM))
        return len(copied) / max(len(words), 1)


def without_thoughts(text: str) -> str:
    """Return an answer without the thoughts that some models write before it, which may be all there is.

    The opening tag may be missing, as with servers whose chat template puts it into the prompt.
    """
    return _THOUGHTS.sub("", text, count=1).strip()


def refuses(text: str) -> bool:
    """Return whether an answer opens with a refusal."""
    return _REFUSAL.match(text) is not None


def enclosed(tag: str, text: str) -> str:
    """Return a text between tags that it does not contain."""
    while f"</{tag}>" in text:
        tag += "_"
    return f"<{tag}>\n{text}\n</{tag}>"


def _without_talk(text: str) -> str:
    """Remove the first and the last sentences as long as they are said to the asker."""
    edges = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    first, last = 0, len(edges) - 1
    while first < last and _TALK.search(text[edges[first] : edges[first + 1]].strip()):
        first += 1
    while first < last and _TALK.search(text[edges[last - 1] : edges[last]].strip()):
        last -= 1
    return text[edges[first] : edges[last]].strip()


def _loops(text: str) -> bool:
    words = _words(text)
    rows = _grams(words)
    return len(words) >= _LEAST_LOOPED and len(set(rows)) <= (1 - _LOOPED) * len(rows)


def _grams(words: list[str]) -> list[tuple[str, ...]]:
    """Return all rows of words, one after the other."""
    return [tuple(words[start : start + _GRAM]) for start in range(len(words) - _GRAM + 1)]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
