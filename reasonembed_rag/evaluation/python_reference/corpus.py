"""The corpus of python_reference: the language reference included in every Python installation."""

from __future__ import annotations

import re
from functools import cache

from reasonembed_rag.documents import Document
from reasonembed_rag.passages import split_passages

__all__ = ["python_reference_documents"]

_FOOTNOTE_MARK = re.compile(r"\[\d+\]")


@cache
def python_reference_documents() -> tuple[Document, ...]:
    """Split every topic of the running interpreter's `pydoc_data.topics` into passages, without duplicates.

    Topics overlap (`compound` contains `if`, `try`, ...): of passages equal up to line breaks and footnote numbers, the
    copy in the shortest topic is kept. The id is the topic and the position in it: `function/2`.
    """
    from pydoc_data.topics import topics  # 700 kB of text, so imported only when needed

    documents: dict[str, Document] = {}
    for topic in sorted(topics, key=lambda name: (len(topics[name]), len(name), name)):
        for position, passage in enumerate(split_passages(topics[topic]), start=1):
            metadata = {"topic": topic, "heading": " > ".join(passage.heading)}
            document = Document(f"{topic}/{position}", passage.content, metadata)
            documents.setdefault(_without_layout(passage.text), document)
    return tuple(sorted(documents.values(), key=_reading_order))


def _without_layout(text: str) -> str:
    return _FOOTNOTE_MARK.sub("[]", "".join(text.split()))


def _reading_order(document: Document) -> tuple[str, int]:
    topic, position = document.id.rsplit("/", 1)
    return topic, int(position)
