"""The prompts of query expansion, in the words of a task card. Cached answers depend on them."""

from __future__ import annotations

from collections.abc import Sequence

from reasonembed_rag.llm import enclosed
from reasonembed_rag.tasks import TaskCard

__all__ = [
    "INTERPRETATION",
    "SUB_QUERY",
    "decomposition_prompt",
    "feedback_prompt",
    "hypothesis_prompt",
    "search_reasoning_prompt",
]

SUB_QUERY, INTERPRETATION = "sub_query", "interpretation"
"""The tags that an answer to decomposition_prompt writes."""


def search_reasoning_prompt(card: TaskCard, query: str) -> str:
    """Ask for the problem behind a query, what would help with it and a draft of its answer."""
    return (
        f"{_given(card, query)}\n\n"
        "Prepare a search for it by thinking in writing:\n"
        "1. Name the problem that lies behind these words, in the terms of its field.\n"
        f"2. Work out step by step what a useful {card.document_type} must explain, and how it bears on the problem.\n"
        "3. Sketch an answer as fully as you can, with the names, rules and facts that it rests on.\n\n"
        "Write connected prose about the subject itself and leave out everything else."
    )


def hypothesis_prompt(card: TaskCard, query: str) -> str:
    """Ask for a document that would help with a query (HyDE, arXiv 2212.10496)."""
    return (
        f"{_given(card, query)}\n\n"
        f"Write such a {card.document_type} yourself, as it might stand in the collection: in its style, with concrete "
        "names and facts, in 80 to 150 words. It does not mention the one who asks. Write its text alone."
    )


def feedback_prompt(card: TaskCard, query: str, documents: Sequence[str]) -> str:
    """Ask for reasoning about a query, given documents that a first search found (ThinkQE, arXiv 2506.09260)."""
    found = "\n\n".join(enclosed(f"found_{number}", text) for number, text in enumerate(documents, start=1))
    return (
        f"{_given(card, query)}\n\n"
        f"A search has found the following so far. Some of it may help, much of it may not:\n\n{found}\n\n"
        "Take from the finds the terms and facts that bear on the problem, correct what points elsewhere, and add "
        f"from your own knowledge what a better {card.document_type} would hold that is still missing. Then answer as "
        "well as you can.\n\n"
        "Write connected prose of 100 to 200 words about the subject itself and leave out everything else."
    )


def decomposition_prompt(card: TaskCard, query: str, *, parts: int) -> str:
    """Ask for sub-queries, each with what it means."""
    return (
        f"{_given(card, query)}\n\n"
        f"No single {card.document_type} may hold all that is needed. Split the search into at most {parts} smaller "
        "ones that can be run apart from one another; where one is enough, give one. For each, say in two or three "
        f"sentences what it means and what a {card.document_type} that settles it would state.\n\n"
        f"Use this form, once for each:\n<{SUB_QUERY}>...</{SUB_QUERY}>\n<{INTERPRETATION}>...</{INTERPRETATION}>"
    )


def _given(card: TaskCard, query: str) -> str:
    return (
        f"This {card.query_type} has come in to a search engine:\n\n{enclosed('query', query)}\n\n"
        f"What it searches is a collection of documents of the kind {card.document_type}. One of them is useful where "
        f"{card.relevance}."
    )
