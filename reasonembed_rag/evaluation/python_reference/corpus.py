"""The corpus of python_reference: the language reference that every Python installation carries."""

from __future__ import annotations

import re
from functools import cache

from reasonembed_rag.documents import Document
from reasonembed_rag.passages import split_passages

__all__ = ["python_reference_documents"]

_FOOTNOTE_MARK = re.compile(r"\[\d+\]")


@cache
def python_reference_documents() -> tuple[Document, ...]:
    """Split every topic of the running interpreter's `pydoc_data.topics` in passages, each one once.

    Topics repeat one another (`compound` holds `if`, `try`, ...): of equal passages, whatever their line breaks and
    footnote numbers, the copy in the shortest topic stays. The id is the topic and the place in it: `function/2`.
    """
    from pydoc_data.topics import topics  # 700 kB of text, so not before it is needed

    documents: dict[str, Document] = {}
    for topic in sorted(topics, key=lambda name: (len(topics[name]), len(name), name)):
        for place, passage in enumerate(split_passages(topics[topic]), start=1):
            metadata = {"topic": topic, "heading": " > ".join(passage.heading)}
            document = Document(f"{topic}/{place}", passage.content, metadata)
            documents.setdefault(_without_layout(passage.text), document)
    return tuple(sorted(documents.values(), key=_reading_order))


def _without_layout(text: str) -> str:
    return _FOOTNOTE_MARK.sub("[]", "".join(text.split()))


def _reading_order(document: Document) -> tuple[str, int]:
    topic, place = document.id.rsplit("/", 1)
    return topic, int(place)
