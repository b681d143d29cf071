"""Documents of LangChain to documents of a store, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

from langchain_core.documents import Document

from reasonembed_rag.documents import Document as StoredDocument
from reasonembed_rag.errors import InputError
from reasonembed_stores.store import Hit

__all__ = ["columns_of", "documents_of", "ids_of", "langchain_document", "scored_documents"]


def documents_of(
    texts: Iterable[str], metadatas: Sequence[dict[str, Any]] | None, ids: Sequence[str | None] | None
) -> list[StoredDocument]:
    """Return texts with their metadata under their ids, new ones where there is none; raises InputError for lengths."""
    contents = list(texts)
    fields = [{} for _ in contents] if metadatas is None else list(metadatas)
    names = [None for _ in contents] if ids is None else list(ids)
    if not len(contents) == len(fields) == len(names):
        raise InputError(f"got {len(contents)} texts, {len(fields)} metadatas and {len(names)} ids; want one of each")
    return [
        StoredDocument(str(uuid4()) if name is None else name, content, field or {})
        for content, field, name in zip(contents, fields, names, strict=True)
    ]


def columns_of(documents: Sequence[Document]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the texts and the metadata of documents."""
    return [document.page_content for document in documents], [document.metadata for document in documents]


def ids_of(documents: Sequence[Document], given: Sequence[str | None] | None) -> list[Any]:
    """Return the ids that were given, or else the documents' own, None where they have none."""
    return [document.id for document in documents] if given is None else list(given)


def langchain_document(document: StoredDocument) -> Document:
    """Return a stored document as LangChain has it."""
    return Document(id=document.id, page_content=document.content, metadata=dict(document.metadata))


def scored_documents(hits: Sequence[Hit]) -> list[tuple[Document, float]]:
    """Return hits as pairs of a document and its score."""
    return [(langchain_document(hit.document), hit.score) for hit in hits]
