"""Documents: texts under unique ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reasonembed_rag.errors import InputError

__all__ = ["Document", "unique_ids"]


@dataclass(frozen=True, slots=True)
class Document:
    """A text that can be found, with its id and metadata."""

    id: str
    content: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


def unique_ids(documents: Iterable[Document], *, name: str | None = None) -> Iterator[Document]:
    """Yield the documents; raises InputError, naming their source, at the first repeated id."""
    seen: set[str] = set()
    where = f"{name}: " if name else ""
    for document in documents:
        if document.id in seen:
            raise InputError(f"{where}document id {document.id!r} occurs twice; ids must be unique: rename or drop one")
        seen.add(document.id)
        yield document
