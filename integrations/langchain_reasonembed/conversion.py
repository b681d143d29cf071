"""Convert between LangChain documents and stored documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

from langchain_core.documents import Document

from reasonembed_rag.documents import Document as StoredDocument
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores import plain_metadata

__all__ = ["Texts", "langchain_document", "scored_documents", "texts_of", "texts_of_documents"]


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts to add, with their ids and metadata."""

    ids: list[str]
    texts: list[str]
    metadatas: list[dict[str, Any]]

    def documents(self) -> list[StoredDocument]:
        """Return the texts as documents of a store."""
        columns = zip(self.ids, self.texts, self.metadatas, strict=True)
        return [StoredDocument(identity, text, metadata) for identity, text, metadata in columns]

    def parts(self, size: int | None) -> Iterator[Texts]:
        """Yield the texts in parts of a size, or all at once; nothing for no texts."""
        size = size or max(1, len(self.ids))
        for start in range(0, len(self.ids), size):
            part = slice(start, start + size)
            yield Texts(self.ids[part], self.texts[part], self.metadatas[part])


def texts_of(
    texts: Iterable[str],
    metadatas: Sequence[dict[str, Any]] | None,
    ids: Sequence[str | None] | None,
    *,
    derived: bool = False,
) -> Texts:
    """Return texts under their ids; where there is none, under new ones or, derived, that of the same text before.

    Raises InputError for one string instead of several, and for different lengths.
    """
    for name, values in (("texts", texts), ("ids", ids)):
        if isinstance(values, str):
            raise InputError(f"{name} is the string {values!r:.80}; want a list of strings")
    contents = list(texts)
    fields = [{} for _ in contents] if metadatas is None else [field or {} for field in metadatas]
    names = [None for _ in contents] if ids is None else list(ids)
    if not len(contents) == len(fields) == len(names):
        raise InputError(f"got {len(contents)} texts, {len(fields)} metadatas and {len(names)} ids; want one of each")
    others = _derived_ids(contents, fields) if derived and None in names else (str(uuid4()) for _ in names)
    known = [other if name is None else name for name, other in zip(names, others, strict=True)]
    return Texts(known, contents, fields)


def _derived_ids(contents: list[str], fields: list[dict[str, Any]]) -> Iterator[str]:
    """Yield an id for each text that is the same in every run; the repetition of a text has another one."""
    seen: Counter[str] = Counter()
    for content, field in zip(contents, fields, strict=True):
        plain = plain_metadata(field, document_id=f"{content!s:.40}")
        name = json.dumps([str(content), plain], sort_keys=True)
        seen[name] += 1
        yield str(uuid5(NAMESPACE_OID, f"{name} {seen[name]}"))


def texts_of_documents(documents: Iterable[Document], ids: Sequence[str | None] | None) -> Texts:
    """Return documents as texts, under the ids that are given, or else their own; raises InputError for others."""
    if _is_document(documents):
        raise InputError("documents is one Document; want a list of them")
    listed = list(documents)
    others: list[object] = [one for one in listed if not _is_document(one)]
    if others:
        raise InputError(f"got {others[0]!r:.80} among the documents; want LangChain's Document")
    return texts_of(
        [document.page_content for document in listed],
        [document.metadata for document in listed],
        [document.id for document in listed] if ids is None else ids,
    )


def _is_document(value: object) -> bool:
    return isinstance(value, Document)


def langchain_document(document: StoredDocument) -> Document:
    """Return a stored document as a LangChain document."""
    return Document(id=document.id, page_content=document.content, metadata=dict(document.metadata))


def scored_documents(hits: Hits) -> list[tuple[Document, float]]:
    """Return hits as (document, score) pairs."""
    pairs = zip(hits.documents or (), hits.scores.tolist(), strict=True)
    return [(langchain_document(document), score) for document, score in pairs]
