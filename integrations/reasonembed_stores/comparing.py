"""Compare documents with a store: which are new, which changed, and whose vectors are known already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

from reasonembed_rag.documents import Document
from reasonembed_stores.spool import DocumentSpool, FileDocument, VectorSpool
from reasonembed_stores.store import Store

__all__ = ["Alike", "Changes", "compare_documents", "content_hash", "pages_of"]

Alike = Callable[[Sequence[bytes]], Mapping[bytes, str]]
"""Returns for hashes of contents the ids of stored documents that have them, as far as that is known."""

_PAGE = 1000
"""Documents that are compared with the store at once."""
_Item = TypeVar("_Item")


def content_hash(content: str) -> bytes:
    """Return 16 bytes that two contents share only if they are equal."""
    return hashlib.blake2b(content.encode(), digest_size=16).digest()


@dataclass(slots=True)
class Changes:
    """What has to be done so that a store has some documents as they are."""

    encoded: DocumentSpool
    """Documents without a known vector."""
    ready: DocumentSpool
    """Documents with one: their metadata changed, or their content is stored under another id."""
    vectors: VectorSpool
    """Those of `ready`."""
    added: int = 0
    replaced: int = 0
    relabelled: int = 0
    unchanged: int = 0
    reused: int = field(default=0)
    """Of those added and replaced, the ones with a known vector."""

    @classmethod
    def none(cls, folder: Path | None) -> Self:
        """Return no changes yet; they are kept as a DocumentSpool is."""
        return cls(DocumentSpool(folder), DocumentSpool(folder), VectorSpool(folder))

    def close(self) -> None:
        """Remove what is on the disk."""
        for one in (self.encoded, self.ready, self.vectors):
            one.close()


def compare_documents(
    documents: Iterable[FileDocument], store: Store | None, changes: Changes, *, alike: Alike
) -> None:
    """Sort documents into changes; the vectors that are reused are copied before anything in the store is replaced."""
    for page in pages_of(documents, _PAGE):
        stored = {} if store is None else {one.id: one for one in store.get([each.document.id for each in page])}
        wanting: list[FileDocument] = []
        relabelled: list[tuple[FileDocument, str]] = []
        for one in page:
            old = stored.get(one.document.id)
            if old is None:
                changes.added += 1
                wanting.append(one)
            elif old.content != one.document.content:
                changes.replaced += 1
                wanting.append(one)
            elif old.metadata != one.document.metadata:
                changes.relabelled += 1
                relabelled.append((one, old.id))
            else:
                changes.unchanged += 1
        known = {} if store is None else _stored_alike([one.document for one in wanting], store, alike)
        reused = [(one, known[one.document.content]) for one in wanting if one.document.content in known]
        changes.reused += len(reused)
        for one in wanting:
            if one.document.content not in known:
                changes.encoded.add(one)
        if store is not None and (ready := relabelled + reused):
            changes.vectors.add(store.vectors_of([source for _, source in ready]))
            for one, _ in ready:
                changes.ready.add(one)


def _stored_alike(documents: Sequence[Document], store: Store, alike: Alike) -> dict[str, str]:
    """Return for contents the id of a stored document that has exactly this content."""
    found = alike([content_hash(document.content) for document in documents])
    return {document.content: document.id for document in store.get(list(dict.fromkeys(found.values())))}


def pages_of(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield lists of at most `size` items."""
    left = iter(items)
    while page := list(islice(left, size)):
        yield page
