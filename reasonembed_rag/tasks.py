"""Task cards: what the queries of a task seek, in words for a model or a judge.

The instructions of the twelve BRIGHT tasks are ReasonEmbed's (arXiv 2510.08252).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from reasonembed_rag.errors import InputError, UnknownTaskError, want_one_of
from reasonembed_rag.files import check_words

if TYPE_CHECKING:
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["BRIGHT_TASKS", "DEFAULT_CARD", "DEFAULT_INSTRUCTION", "TASKS", "TaskCard", "get_task", "query_affixes"]

DEFAULT_INSTRUCTION = "Given a question, retrieve relevant passages that help answer the question."


@dataclass(frozen=True, slots=True)
class TaskCard:
    """What the queries of a task are, what its documents are, and what makes one relevant to the other."""

    name: str
    instruction: str
    query_type: str
    document_type: str
    relevance: str


_CONCEPTS = "its concepts or theories help an expert draft an answer, even where it shares no words with the query"
_SAME_SKILL = "solving it uses the same theorem, algorithm or skill that solves the query"


DEFAULT_CARD = TaskCard("default", DEFAULT_INSTRUCTION, "question", "passage", _CONCEPTS)
"""For queries and documents of which no more is known."""


def _posts(name: str, title: str, article: str = "a") -> TaskCard:
    instruction = f"Given {article} {title} post, retrieve relevant passages that help answer the post."
    return TaskCard(name, instruction, f"{title} post", "passage", _CONCEPTS)


def _examples(name: str, kind: str, query_type: str) -> TaskCard:
    instruction = f"Given a {kind} problem, retrieve relevant examples that help answer the problem."
    return TaskCard(name, instruction, query_type, "solved problem", _SAME_SKILL)


_CARDS = (
    _posts("biology", "Biology"),
    _posts("earth_science", "Earth Science", "an"),
    _posts("economics", "Economics"),
    _posts("psychology", "Psychology"),
    _posts("robotics", "Robotics"),
    _posts("stackoverflow", "Stack Overflow"),
    _posts("sustainable_living", "Sustainable Living"),
    _examples("leetcode", "Coding", "coding problem"),
    TaskCard(
        "pony",
        "Given a Pony question, retrieve relevant passages that help answer the question.",
        "coding instruction in the Pony language",
        "passage of the Pony manual",
        "it documents the syntax that the solution needs",
    ),
    _examples("aops", "Math", "competition mathematics problem"),
    _examples("theoremqa_questions", "Math", "mathematics problem"),
    TaskCard(
        "theoremqa_theorems",
        "Given a Math problem, retrieve relevant theorems that help answer the problem.",
        "mathematics problem",
        "theorem",
        "it is the theorem that solves the query",
    ),
)

BRIGHT_TASKS: tuple[str, ...] = tuple(card.name for card in _CARDS)
TASKS: Mapping[str, TaskCard] = MappingProxyType({card.name: card for card in _CARDS})


def get_task(name: str) -> TaskCard:
    """Return the card of a task; raises UnknownTaskError, naming the known ones."""
    try:
        return TASKS[name]
    except KeyError:
        raise UnknownTaskError(
            f"unknown task {name!r}; {want_one_of(name, TASKS)}, or pass your own words as instruction=..."
        ) from None


def query_affixes(spec: EmbeddingSpec, *, task: str | None, instruction: str | None) -> tuple[str, str]:
    """Return the prefix and suffix of a query, with the task's instruction or the given one filled in.

    A model that takes no instruction ignores the task and refuses an instruction. Raises InputError for both at once
    and for values that are not text, UnknownTaskError for an unknown task.
    """
    if task is not None and instruction is not None:
        raise InputError("got both task and instruction; want one of them")
    for name, words in (("task", task), ("instruction", instruction)):
        if words is not None:
            check_words(words, name=name)
    if instruction is not None and not spec.takes_instruction:
        raise InputError(f"{spec.model} takes no instruction: its query template is bare; leave it out")
    return spec.query_affixes(get_task(task).instruction if task is not None else instruction)
