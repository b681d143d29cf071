"""Batch: documents as checked columns, on their way into a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_stores.metadata import encode_metadatas

__all__ = ["Batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Ids that differ, contents, and metadata as JSON texts."""

    ids: list[str]
    contents: list[str]
    metadatas: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of_documents(cls, documents: Sequence[Document]) -> Self:
        """Take documents; raises InputError, naming the document, for what cannot be stored."""
        others: list[object] = [one for one in documents if not _is_document(one)]
        if others:
            raise InputError(f"got {others[0]!r:.80} among the documents; want Document(id, content, metadata)")
        return cls.of_columns(
            [document.id for document in documents],
            [document.content for document in documents],
            [document.metadata for document in documents],
        )

    @classmethod
    def of_columns(cls, ids: list[str], contents: list[str], metadatas: Sequence[Mapping[str, Any]]) -> Self:
        """Take columns of equal length; raises InputError, naming the document, for what cannot be stored."""
        if not len(ids) == len(contents) == len(metadatas):
            raise InputError(
                f"got {len(ids)} ids, {len(contents)} texts and {len(metadatas)} metadatas; want one of each a document"
            )
        _check_ids(ids)
        for identity, content in zip(ids, contents, strict=True) if set(map(type, contents)) - {str} else ():
            if not _is_text(content):
                raise InputError(f"the content of {identity!r} is {type(content).__name__}; want a string")
        return cls(ids, contents, encode_metadatas(metadatas, ids))

    def check_unicode(self) -> None:
        """Raise InputError for a document that UTF-8 cannot write."""
        for identity, *texts in zip(self.ids, self.contents, self.metadatas, strict=True):
            try:
                for text in (identity, *texts):
                    text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"document {identity!r} is not Unicode text ({error.reason}); decode it anew"
                ) from error


def _check_ids(ids: list[str]) -> None:
    """Raise InputError for an id that is no string, empty, or occurs twice; the common case is checked all at once."""
    if set(map(type, ids)) <= {str}:
        distinct = set(ids)
        if len(distinct) == len(ids) and "" not in distinct and "\0" not in "".join(ids):
            return
    seen: set[str] = set()
    for identity in ids:
        if not _is_text(identity) or not identity or "\0" in identity:
            raise InputError(f"document id {identity!r}; want a non-empty string without NUL characters")
        if identity in seen:
            raise InputError(f"document id {identity!r} occurs twice in one call; ids must be unique: drop or rename")
        seen.add(identity)


def _is_document(value: object) -> bool:
    return isinstance(value, Document)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
