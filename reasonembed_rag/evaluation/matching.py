"""Map the texts that a framework returned to the ids of the task's documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from reasonembed_rag.documents import Document
from reasonembed_rag.hits import Hits
from reasonembed_rag.retrieval import hits_in_order

__all__ = ["DocumentNames", "FoundText"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    """A text as a framework returned it: its own id, ids it may have in the task, its content and score."""

    unit: str | None
    names: tuple[object, ...]
    content: str
    score: float | None = None


class DocumentNames:
    """Identifies the document of a found text: by one of its names, else by its content."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self._ids = frozenset(document.id for document in documents)

    def name(self, text: FoundText) -> str:
        """Return the document's id; for a text that is not in the task, its own first name."""
        names = [name for name in (text.unit, *text.names) if isinstance(name, str) and name]
        known = next((name for name in names if name in self._ids), None) or self._id_of_content.get(text.content)
        return known or (names[0] if names else "a text without an id")

    def hits(self, found: Sequence[FoundText]) -> Hits:
        """Return found texts as hits in their order, keeping the first part of each document.

        A text returned twice under the same own id is kept twice, so that the run reports it. Scores are used only if
        every text has one.
        """
        seen: set[tuple[str, str]] = set()
        parts: dict[str, str] = {}
        kept: list[FoundText] = []
        ids: list[str] = []
        for text in found:
            name = self.name(text)
            unit = text.unit or name
            if name in parts and parts[name] != unit and (name, unit) not in seen:
                seen.add((name, unit))
                continue
            parts.setdefault(name, unit)
            kept.append(text)
            ids.append(name)
        scores = [text.score for text in kept if text.score is not None]
        return hits_in_order(ids, scores if len(scores) == len(ids) else None)

    @cached_property
    def _id_of_content(self) -> dict[str, str]:
        """The id of the first document with each content."""
        contents: dict[str, str] = {}
        for document in self._documents:
            contents.setdefault(document.content, document.id)
        return contents
