"""The prompts of reranking by a chat model, per task card. Cached answers depend on them.

None holds an example that could be read as an answer: a model that repeats its prompt has said nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from reasonembed_rag.llm import enclosed
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard, get_task

__all__ = ["card_of", "grouping_prompt", "ranking_prompt", "scoring_prompt"]


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
