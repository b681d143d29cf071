"""Documents as rows of JSON Lines, which an index run reads again as the same documents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import StoreError
from reasonembed_stores.filters import FilterLike
from reasonembed_stores.store import Store

__all__ = ["exported_lines", "exported_metadata"]

_MARK = "reasonembed_metadata"
"""The field of an exported row that has the metadata which the row cannot hold under their own names, often none."""
_VECTOR = "vector"
_TAKEN = frozenset({"id", "content", _VECTOR, _MARK})
_PAGE = 500


def exported_lines(store: Store, *, filters: FilterLike | None = None, vectors: bool = False) -> Iterator[bytes]:
    """Yield a line of JSON per document: id, content, metadata, and its vector if wanted.

    Raises StoreError if a document's vector changes meanwhile.
    """
    documents = store.documents(filters)
    while page := list(islice(documents, _PAGE)):
        rows = [_row(document) for document in page]
        if vectors:
            for row, vector in zip(rows, _vectors(store, page), strict=True):
                row[_VECTOR] = vector
        for row in rows:
            yield (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _row(document: Document) -> dict[str, Any]:
    # A null is no field in a row of JSON Lines, but one in metadata.
    other = {name: value for name, value in document.metadata.items() if name in _TAKEN or value is None}
    plain = {name: value for name, value in document.metadata.items() if name not in other}
    return {"id": document.id, "content": document.content, **plain, _MARK: other}


def _vectors(store: Store, page: list[Document]) -> list[list[float]]:
    ids = [document.id for document in page]
    if store.get(ids) == page:
        rows_ND = store.vectors_of(ids)
        if store.get(ids) == page:
            return [[float(str(number)) for number in row] for row in rows_ND]  # the shortest text of a float32
    raise StoreError("documents were changed while their vectors were exported; export again when nobody writes")


def exported_metadata(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the metadata that an exported row was made from, given its fields without id and content.

    None for any other row.
    """
    other = fields.get(_MARK)
    if not isinstance(other, Mapping):
        return None
    return {name: value for name, value in fields.items() if name not in _TAKEN} | dict(other)
