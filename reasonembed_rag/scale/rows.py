"""Rows of a corpus: their ids and digests by slices, and their documents."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.files import check_unicode, parse_jsonl
from reasonembed_rag.scale.places import Place
from reasonembed_rag.scale.tables import open_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reasonembed_rag.scale.tables import ArrowTable, InputFile

__all__ = ["RowSlice", "TextColumns", "read_slice", "scan"]

_LINES = (".jsonl", ".jsonl.gz")
_SKIPPED = 1 << 20


@dataclass(frozen=True, slots=True)
class TextColumns:
    """The names of the columns that hold ids and contents."""

    id: str = "id"
    content: str = "content"


@dataclass(frozen=True, slots=True)
class RowSlice:
    """Rows of a file: from a row of a table, or from a byte of (unpacked) JSON Lines."""

    address: str
    start: int
    rows: int
    digest: str
    """Changes with any id or text of the rows."""


def scan(file: InputFile, columns: TextColumns, *, rows: int) -> Iterator[tuple[RowSlice, list[str]]]:
    """Yield slices of at most `rows` rows with their ids; raises InputError for a row without id or content."""
    scanned = _scan_lines if file.address.endswith(_LINES) else _scan_table
    yield from scanned(file.address, columns, rows)


def read_slice(part: RowSlice, columns: TextColumns, *, metadata: bool) -> list[Document]:
    """Return the documents of a slice, with the other columns as metadata if wanted."""
    rows = _line_rows(part) if part.address.endswith(_LINES) else _table_rows(part, columns, metadata=metadata)
    documents = [_document(row, columns, where=where) for where, row in rows]
    if _digest(documents) != part.digest:
        raise InputError(f"{part.address}: has been changed since the plan was made; encode it into a new folder")
    return documents


def _slice(address: str, start: int, documents: Sequence[Document]) -> tuple[RowSlice, list[str]]:
    part = RowSlice(address, start, len(documents), _digest(documents))
    return part, [document.id for document in documents]


def _digest(documents: Sequence[Document]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for document in documents:
        for text in (document.id, document.content):
            content = text.encode()
            digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _document(row: dict[str, Any], columns: TextColumns, *, where: str) -> Document:
    for column, option in ((columns.id, "--id-column"), (columns.content, "--text-column")):
        if column not in row:
            raise InputError(f"{where}: got the columns {', '.join(row)}; want {column!r}, or name another: {option}")
    identity, content = row.pop(columns.id), row.pop(columns.content)
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not identity:
        raise InputError(f"{where}: {columns.id!r} is {identity!r}; want an id, or name its column: --id-column")
    if not isinstance(content, str):
        raise InputError(f"{where}: {columns.content!r} is {content!r}; want text, or name its column: --text-column")
    check_unicode(identity, name=f"{where}: {columns.id!r}")
    check_unicode(content, name=f"{where}: {columns.content!r} of {identity!r}")
    return Document(identity, content, row)


@contextmanager
def _table(address: str, columns: TextColumns) -> Iterator[ArrowTable]:
    with open_table(address) as table:
        missing = [name for name in (columns.id, columns.content) if name not in table.names]
        if missing:
            raise InputError(
                f"{address}: has no column {missing[0]!r}, only {', '.join(table.names)}; "
                "name the columns: --id-column, --text-column"
            )
        yield table


def _scan_table(address: str, columns: TextColumns, rows: int) -> Iterator[tuple[RowSlice, list[str]]]:
    with _table(address, columns) as table:
        start = 0
        for batch in table.scan([columns.id, columns.content], size=rows):
            values = batch.to_pydict()
            pairs = zip(values[columns.id], values[columns.content], strict=True)
            documents = [
                _document({columns.id: i, columns.content: text}, columns, where=f"{address}, row {number}")
                for number, (i, text) in enumerate(pairs, start=start + 1)
            ]
            if documents:
                yield _slice(address, start, documents)
            start += len(documents)


def _table_rows(part: RowSlice, columns: TextColumns, *, metadata: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    with _table(part.address, columns) as table:
        found = table.read(part.start, part.rows, None if metadata else [columns.id, columns.content])
        for number, row in enumerate(found.to_pylist(), start=part.start + 1):
            yield f"{part.address}, row {number}", row


def _lines(address: str, start: int) -> Iterator[bytes]:
    """Yield the lines of a file from a byte on."""
    packed = address.endswith(".gz")
    with Place(address).opened(unpacked=packed) as file:
        if packed:
            left = start
            while left > 0 and (skipped := file.read(min(left, _SKIPPED))):
                left -= len(skipped)
        else:
            file.seek(start)
        rest = b""
        while block := file.read(_SKIPPED):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line + b"\n" for line in whole)
        if rest:
            yield rest


def _scan_lines(address: str, columns: TextColumns, rows: int) -> Iterator[tuple[RowSlice, list[str]]]:
    begin = end = 0
    documents: list[Document] = []
    for number, line in enumerate(_lines(address, 0), start=1):
        if line.strip():
            where = f"{address}:{number}"
            documents.append(_document(_parsed(line, where), columns, where=where))
        end += len(line)
        if len(documents) == rows:
            yield _slice(address, begin, documents)
            begin, documents = end, []
    if documents:
        yield _slice(address, begin, documents)


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON in UTF-8 ({error}); want one object per line") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: got {type(row).__name__}, want a JSON object")
    return row


def _line_rows(part: RowSlice) -> Iterator[tuple[str, dict[str, Any]]]:
    name = f"{part.address}, from byte {part.start}"
    for number, row in islice(parse_jsonl(_lines(part.address, part.start), name=name), part.rows):
        yield f"{name}, line {number}", row
