"""Readers of rows: each row of a table is a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.files import read_jsonl_documents
from reasonembed_readers.parts import Note, Part, ReadOptions

__all__ = ["read_json_lines", "read_parquet"]

_ROWS = 1000


def read_json_lines(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield the objects of a JSON Lines file."""
    for document in read_jsonl_documents(path):
        yield Part(document.content, id=document.id, metadata=document.metadata)


def read_parquet(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield the rows of a Parquet file."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet") from error
    try:
        number = 0
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _row(row, where=f"{path}: row {number}")
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: not Parquet ({error}); want columns id and content") from error


def _row(row: dict[str, Any], *, where: str) -> Part:
    identity, content = row.pop("id", None), row.pop("content", None)
    if not isinstance(identity, str) or not identity:
        raise InputError(f"{where}: id is {identity!r}; want a column of non-empty strings")
    if not isinstance(content, str):
        raise InputError(f"{where}: content of {identity!r} is {content!r}; want a column of strings")
    return Part(content, id=identity, metadata={name: value for name, value in row.items() if value is not None})
