"""Reader of Parquet: each row is a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.raw import PACKED_SUFFIXES, read_bytes
from reasonembed_readers.rows import FileRows

__all__ = ["read_parquet"]

_BATCH = 1000


def read_parquet(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the rows of a Parquet file; columns of bytes are left out."""
    try:
        from pyarrow import ArrowException, BufferReader, types
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet") from error
    packed = path.suffix.lower() in PACKED_SUFFIXES
    try:
        with ParquetFile(BufferReader(read_bytes(path)) if packed else path) as file:
            schema = file.schema_arrow
            raw = [field.name for field in schema if types.is_binary(field.type) or types.is_large_binary(field.type)]
            if raw:
                note(f"{path}: columns of bytes are left out: {', '.join(raw)}")
            columns = [name for name in schema.names if name not in raw]
            rows = FileRows(str(path), columns, options, note)
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield rows.part(row, where=f"{path}: row {number}")
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: not Parquet ({error}); want columns id and content") from error
