"""Rows of JSON Lines and Parquet files, and documents that are read from their table on access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from reasonembed_rag.documents import Document, unique_ids
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.files.jsonl import read_jsonl, read_jsonl_documents

__all__ = ["TABLE_SUFFIXES", "TableDocuments", "find_table", "read_rows", "read_table_documents"]

TABLE_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")

_BLOCK_DOCUMENTS = 1024


class TableDocuments(Sequence[Document]):
    """Documents whose contents are read from a table on access; only the ids are held in memory.

    `contents` returns those of the rows from start to stop. Raises InputError for a repeated id.
    """

    def __init__(self, ids: Sequence[str], contents: Callable[[int, int], Sequence[str | None]]) -> None:
        self.ids = tuple(ids)
        self._contents = contents
        if len(set(self.ids)) < len(self.ids):
            seen: set[str] = set()
            twice = next(i for i in self.ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
            raise InputError(f"document id {twice!r} occurs twice; ids must be unique: rename or drop one")

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, key: int) -> Document: ...
    @overload
    def __getitem__(self, key: slice) -> list[Document]: ...
    def __getitem__(self, key: int | slice) -> Document | list[Document]:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self.ids))
            if step != 1:
                return [self[row] for row in range(start, stop, step)]
            found = self._contents(start, max(start, stop))
            return [Document(i, text or "") for i, text in zip(self.ids[start:stop], found, strict=True)]
        row = range(len(self.ids))[key]
        return Document(self.ids[row], self._contents(row, row + 1)[0] or "")

    def __iter__(self) -> Iterator[Document]:
        for start in range(0, len(self.ids), _BLOCK_DOCUMENTS):
            yield from self[start : start + _BLOCK_DOCUMENTS]


def find_table(stem: Path) -> tuple[Path, ...]:
    """Return the files of a table: stem.jsonl, stem.jsonl.gz, stem.parquet or the shards stem-00000-of-0000N.parquet.

    Returns nothing where there is none. Raises InputError where shards are missing.
    """
    for suffix in TABLE_SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.is_file():
            return (path,)
    shards = tuple(sorted(stem.parent.glob(f"{stem.name}-?????-of-?????.parquet")))
    wanted = int(shards[0].stem[-5:]) if shards else 0
    if len(shards) != wanted:
        raise InputError(f"{stem}: has {len(shards)} of {wanted} Parquet shards; download the others")
    return shards


def read_rows(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) of the files of a table; `where` is file:line, or the file and the row.

    Raises InputError for a file that cannot be read in the format of its suffix, MissingDependencyError for Parquet
    without pyarrow.
    """
    for path in paths:
        if path.suffix == ".parquet":
            for number, row in enumerate(_parquet([path], columns=None).to_pylist(), start=1):
                yield f"{path}, row {number}", row
        else:
            yield from ((f"{path}:{number}", row) for number, row in read_jsonl(path))


def read_table_documents(paths: Sequence[Path]) -> Sequence[Document]:
    """Return the documents of a table's files; the contents of Parquet files are read on access.

    Raises InputError for a row without a string id and content, repeated ids and no documents.
    """
    documents: Sequence[Document]
    if paths[0].suffix == ".parquet":
        table = _parquet(paths, columns=["id", "content"])
        contents = table.column("content")
        ids = [str(identity) for identity in table.column("id").to_pylist()]
        documents = TableDocuments(ids, lambda start, stop: contents.slice(start, stop - start).to_pylist())
    else:
        rows = (document for path in paths for document in read_jsonl_documents(path))
        documents = tuple(unique_ids(rows, name=str(paths[0])))
    if not documents:
        raise InputError(f"{paths[0]}: holds no document; want at least one")
    return documents


def _parquet(paths: Sequence[Path], *, columns: list[str] | None) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        package, extra = "pyarrow", "eval"
        raise MissingDependencyError(package, extra) from error
    try:
        table = pa.concat_tables(parquet.read_table(path, columns=columns) for path in paths)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{paths[0]}: cannot read it as Parquet ({error}); download it again") from error
    missing = sorted(set(columns or ()) - set(table.column_names))
    if missing:
        raise InputError(f"{paths[0]}: has no column {', '.join(missing)}; want id and content")
    return table
