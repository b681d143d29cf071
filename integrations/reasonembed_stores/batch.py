"""Documents on their way into a store: checked, in columns, their metadata as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_stores.metadata import plain_metadata

__all__ = ["Batch", "check_columns", "decode_json", "encode_json"]

encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
decode_json = json.JSONDecoder().decode
_SEPARATOR = ',"\\u0000",'
"""The string "\\0" between two others in a JSON list."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Unique ids, contents, and metadata as JSON texts."""

    ids: Sequence[str] = ()
    contents: Sequence[str] = ()
    metadatas: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of_documents(cls, documents: Sequence[Document]) -> Self:
        """Take documents; raises InputError, naming the document and field, for what cannot be stored."""
        others: list[object] = [one for one in documents if not _is(one, Document)]
        if others:
            raise InputError(f"got {others[0]!r:.80} among the documents; want Document(id, content, metadata)")
        return cls.of_columns(
            [document.id for document in documents],
            [document.content for document in documents],
            [document.metadata for document in documents],
        )

    @classmethod
    def of_columns(cls, ids: list[str], contents: list[str], metadatas: Sequence[Mapping[str, Any]]) -> Self:
        """Take columns of equal length; raises InputError, naming document and field, for what cannot be stored."""
        if not len(ids) == len(contents) == len(metadatas):
            raise InputError(
                f"got {len(ids)} ids, {len(contents)} texts and {len(metadatas)} metadatas; want one of each per "
                "document"
            )
        _check_ids(ids)
        for identity, content in zip(ids, contents, strict=True) if set(map(type, contents)) - {str} else ():
            if not _is(content, str):
                raise InputError(f"the content of {identity!r} is {type(content).__name__}; want a string")
        return cls(ids, contents, _encoded(metadatas, ids))

    def check_unicode(self) -> None:
        """Raise InputError for a document that cannot be written as UTF-8."""
        for identity, *texts in zip(self.ids, self.contents, self.metadatas, strict=True):
            try:
                "".join((identity, *texts)).encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"document {identity!r} is not Unicode text ({error.reason}); decode it again"
                ) from error


def check_columns(ids: list[str], contents: list[str], metadatas: Sequence[Mapping[str, Any]]) -> None:
    """Raise InputError, naming document and field, for what no store takes: ask before the texts are embedded."""
    Batch.of_columns(ids, contents, metadatas).check_unicode()


def _is(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _check_ids(ids: list[str]) -> None:
    """Raise InputError for an id that is not a string, is empty or occurs twice; the usual case is checked at once."""
    if set(map(type, ids)) <= {str} and len(set(ids)) == len(ids) and "" not in ids and "\0" not in "".join(ids):
        return
    seen: set[str] = set()
    for identity in ids:
        if not _is(identity, str) or not identity or "\0" in identity:
            raise InputError(f"document id {identity!r}; want a non-empty string without NUL characters")
        if identity in seen:
            raise InputError(f"document id {identity!r} occurs twice in one call; ids must be unique: drop or rename")
        seen.add(identity)


def _encoded(metadatas: Sequence[Mapping[str, Any]], ids: Sequence[str]) -> list[str]:
    # Flat metadata is encoded in one call, as every call costs half a microsecond more, and split at the separators.
    if set(map(type, metadatas)) <= {dict} and set(map(type, chain.from_iterable(metadatas))) <= {str}:
        try:
            joined = encode_json([part for metadata in metadatas for part in (metadata, "\0")])
        except (TypeError, ValueError, RecursionError):
            joined = ""  # one of them is not JSON as it is
        texts = joined[1 : -len(_SEPARATOR)].split(_SEPARATOR)
        if joined.count("{") == len(metadatas) == len(texts):
            return texts  # no object inside another, so no key that was not checked
    return [_encoded_alone(metadata, identity) for metadata, identity in zip(metadatas, ids, strict=True)]


def _encoded_alone(metadata: Mapping[str, Any], identity: str) -> str:
    return encode_json(plain_metadata(metadata, document_id=identity))
