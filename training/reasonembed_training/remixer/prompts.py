"""The prompts of every stage; their content follows ReasonEmbed, arXiv 2510.08252. Cached answers depend on them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reasonembed_rag.llm import enclosed
from reasonembed_training.remixer.cards import RemixCard

__all__ = [
    "GRADES",
    "card_prompt",
    "judging_prompt",
    "length_in_words",
    "membership_prompt",
    "query_prompt",
    "reasoning_prompt",
]

GRADES = (
    "1 irrelevant; 2 on the topic but of no help; 3 helps with a part; 4 helps with much of it; "
    "5 highly relevant, an answer rests on it"
)
"""What a judge's grades mean."""


def membership_prompt(card: RemixCard, document: str) -> str:
    """Ask whether a document belongs to the card's domain, Yes or No."""
    return (
        f"A collection holds {card.domain}.\n\n"
        f"Here is a text that was found among its sources:\n\n{enclosed('text', document)}\n\n"
        "Does the text belong in the collection? It belongs where a reader of the collection could learn something "
        "from it that lies in the collection's field. It does not where it is about something else, or where it is no "
        "content at all: a menu, a licence, a list of links, an advertisement, an error page, scrambled characters.\n\n"
        "Reply with one word, Yes or No."
    )


def query_prompt(card: RemixCard, document: str, *, length: str, education: str) -> str:
    """Ask for one query of the card's kind that the document helps to answer, but that does not refer to it."""
    return (
        f"You write test queries for a search engine over documents of this kind: {card.document_type}.\n"
        f'The search engine\'s task: "{card.instruction}"\n\n'
        f"The document:\n\n{enclosed('document', document)}\n\n"
        f"Write one {card.query_type} that leads to this document.\n"
        f"What it should be: {card.goal}\n"
        f"- Length: {length_in_words(length)}.\n"
        f"- Whoever asks it, and whoever answers it, needs an education of this level: {education}.\n"
        "- It stands by itself: the asker has never seen the document, so it neither mentions nor quotes one.\n"
        "- Finding the link between it and the document takes thought: it avoids the document's own key words where "
        "plain words or a concrete case will do.\n\n"
        f"Reply with the {card.query_type} alone: no title, no quotation marks, no remark before or after it."
    )


def reasoning_prompt(card: RemixCard, query: str) -> str:
    """Ask for reasoning about a query and the documents that would help."""
    return (
        f"Here is a {card.query_type}:\n\n{enclosed('query', query)}\n\n"
        "Think about it in writing, in this order:\n"
        "1. Say what the essential problem is.\n"
        f"2. Reason step by step about what information a helpful {card.document_type} would hold, and why.\n"
        "3. Draft an answer, with as many thoughts as you can that bear on it.\n\n"
        "Reply with these thoughts as continuous text."
    )


def judging_prompt(card: RemixCard, query: str, documents: Sequence[str]) -> str:
    """Ask for a grade from 1 to 5 for one document, or for each of several under its number."""
    several = len(documents) > 1
    shown = "\n\n".join(
        f"Document {number}:\n{enclosed('document', document)}" if several else enclosed("document", document)
        for number, document in enumerate(documents, start=1)
    )
    kind = card.document_type
    return (
        f"Judge how much {f'each {kind}' if several else f'a {kind}'} helps with a {card.query_type}.\n"
        f"A {kind} is relevant where {card.relevance}. Sharing words or a topic with the query is not enough.\n\n"
        f"The {card.query_type}:\n\n{enclosed('query', query)}\n\n"
        f"{f'The documents, {len(documents)} in all' if several else f'The {kind}'}:\n\n{shown}\n\n"
        "Proceed in this order:\n"
        "1. Query analysis: what does it ask in essence, and what knowledge would an answer rest on?\n"
        f"2. Document analysis{', one document after the other' if several else ''}: what does it say, and which part "
        "of it, if any, would an answer use?\n"
        f"3. Grade it with a whole number: {GRADES}.\n\n"
        + (
            'End with one line for every document, in this form: <score document="1">N</score>'
            if several
            else "End with the grade in this form: <score>N</score>"
        )
    )


def card_prompt(samples: Sequence[str]) -> str:
    """Ask for the fields of a task card for a corpus, given some of its documents."""
    shown = "\n\n".join(enclosed("document", sample) for sample in samples)
    return (
        "You prepare a search engine for a collection of documents. Some documents of it, drawn at random:\n\n"
        f"{shown}\n\n"
        "People will come with questions that such documents help to answer, though question and document may share "
        "no words. Describe the task in these five tags, each with plain words on one line:\n"
        "<query_type>what people will ask, as a noun in the singular, such as: Biology post</query_type>\n"
        "<document_type>what a document is, as a noun in the singular, such as: passage</document_type>\n"
        "<relevance>completes: a document is relevant to a query where ...</relevance>\n"
        "<domain>completes: the collection holds ...</domain>\n"
        "<goal>what a good question is that leads to a given document: who asks, in what situation, how it is told "
        "without naming what the document is about</goal>"
    )


def length_in_words(length: str) -> str:
    """Spell out a card's length ("<100", "100-200", ">=500")."""
    first, *rest = re.findall(r"\d+", length)
    if rest:
        return f"between {first} and {rest[0]} words"
    return f"fewer than {first} words" if length.startswith("<") else f"{first} words or more"
