"""Draft a task card for a corpus: by a chat model that has seen some documents, or as a form to fill in."""

from __future__ import annotations

from collections.abc import Sequence

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import ChatError, TrainingError
from reasonembed_rag.files import record_from
from reasonembed_rag.llm import Answer, Chat
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.parsing import parse_fields
from reasonembed_training.remixer.prompts import card_prompt
from reasonembed_training.remixer.sampling import shuffle_key

__all__ = ["blank_card", "draft_card", "sample_documents"]

_SAMPLES = 8
_MAX_SAMPLE_CHARS = 1500
_SHOWN_CHARACTERS = 600
_FIELDS = ("query_type", "document_type", "relevance", "domain", "goal")


def sample_documents(documents: Sequence[Document], *, seed: int) -> list[str]:
    """Return the beginnings of some random documents."""
    written = [document for document in documents if document.content.strip()]
    drawn = sorted(written, key=lambda document: shuffle_key(document.id, seed=seed))[:_SAMPLES]
    return [document.content[:_MAX_SAMPLE_CHARS] for document in drawn]


def draft_card(name: str, samples: Sequence[str], complete: Chat) -> RemixCard:
    """Let a chat model describe the task of a corpus; a person should read the card before it is used.

    Raises ChatError, with the answer, where it lacks a field or repeats what the prompt says of it.
    """
    reply = complete(card_prompt(samples))
    answer = reply if isinstance(reply, Answer) else Answer(reply)
    asked = parse_fields(Answer(card_prompt(())), *_FIELDS)
    fields = {name: text for name, text in parse_fields(answer, *_FIELDS).items() if text != asked[name]}
    missing = [field for field in _FIELDS if field not in fields]
    if missing:
        said = " ".join(answer.text.split())
        shown = f"{said[:_SHOWN_CHARACTERS]!r}{' ...' if len(said) > _SHOWN_CHARACTERS else ''}" if said else "nothing"
        raise ChatError(
            f"the model's draft lacks {', '.join(missing)}; it answered{' (truncated)' if answer.truncated else ''}: "
            f"{shown}. Ask again, use another model, or draft a blank card without --model"
        )
    instruction = _instruction(fields["query_type"], fields["document_type"])
    return record_from(
        RemixCard, {"name": name, "instruction": instruction, **fields}, where="the model's draft", error=TrainingError
    )


def blank_card(name: str) -> RemixCard:
    """Return a card in general words, to be adapted to the corpus by hand."""
    return RemixCard(
        name=name,
        instruction=_instruction("question", "passage"),
        query_type="question",
        document_type="passage",
        relevance="its facts, concepts or methods help to answer the query, even where they share no words",
        domain="texts of one field: NAME IT HERE, so that other documents can be recognised",
        goal=(
            "A question out of a concrete situation, in the asker's own words, to whose answer the passage "
            "contributes; it names neither the passage's key terms nor its title."
        ),
    )


def _instruction(query_type: str, document_type: str) -> str:
    article = "an" if query_type[:1].lower() in "aeiou" else "a"
    plural = document_type if document_type.endswith("s") else f"{document_type}s"
    asked = query_type.rsplit(maxsplit=1)[-1]
    return f"Given {article} {query_type}, retrieve relevant {plural} that help answer the {asked}."
