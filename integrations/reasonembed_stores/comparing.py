"""Compare documents with a store: which are new, which changed, and whose vectors are known already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, Self, TypeVar

from reasonembed_rag.documents import Document
from reasonembed_stores.spool import DocumentSpool, FileDocument, VectorSpool
from reasonembed_stores.store import Store

__all__ = ["Alike", "Changes", "compare_documents", "content_hash", "embed_again", "pages_of"]

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
    documents: Iterable[FileDocument],
    store: Store | None,
    changes: Changes,
    *,
    alike: Alike,
    again: Container[str] = (),
) -> None:
    """Sort documents into changes; the vectors that are reused are copied before anything in the store is replaced.

    No vector is reused of the contents of `again`.
    """
    for page in pages_of(documents, _PAGE):
        stored = {} if store is None else {one.id: one for one in store.get([each.document.id for each in page])}
        wanting: list[FileDocument] = []
        relabelled: list[tuple[FileDocument, str]] = []
        for one in page:
            found = _count(one.document, stored.get(one.document.id), changes)
            if found == "new":
                wanting.append(one)
            elif one.document.content in again:
                changes.encoded.add(one)
            elif found == "relabelled":
                relabelled.append((one, one.document.id))
        reusable = [one.document for one in wanting if one.document.content not in again]
        known = {} if store is None else _stored_alike(reusable, store, alike)
        reused = [(one, known[one.document.content]) for one in wanting if one.document.content in known]
        changes.reused += len(reused)
        for one in wanting:
            if one.document.content not in known:
                changes.encoded.add(one)
        if store is not None and (ready := relabelled + reused):
            changes.vectors.add(store.vectors_of([source for _, source in ready]))
            for one, _ in ready:
                changes.ready.add(one)


def _count(document: Document, old: Document | None, changes: Changes) -> Literal["new", "relabelled", "same"]:
    """Count a document as what it is beside the stored one of its id."""
    if old is None:
        changes.added += 1
    elif old.content != document.content:
        changes.replaced += 1
    elif old.metadata != document.metadata:
        changes.relabelled += 1
        return "relabelled"
    else:
        changes.unchanged += 1
        return "same"
    return "new"


def embed_again(store: Store, changes: Changes, again: Container[str], *, besides: Iterable[str]) -> None:
    """Add the stored documents of these contents to what is encoded, but for those of some ids."""
    known = set(besides)
    for document in store:
        if document.content in again and document.id not in known:
            changes.encoded.add(FileDocument(document))


def _stored_alike(documents: Sequence[Document], store: Store, alike: Alike) -> dict[str, str]:
    """Return for contents the id of a stored document that has exactly this content."""
    found = alike([content_hash(document.content) for document in documents])
    return {document.content: document.id for document in store.get(list(dict.fromkeys(found.values())))}


def pages_of(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield lists of at most `size` items."""
    left = iter(items)
    while page := list(islice(left, size)):
        yield page
