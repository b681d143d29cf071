"""Training data on disk: sources are validated once, written as one Arrow file and memory-mapped afterwards."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import read_rows, replacing
from reasonembed_training.data.rows import (
    ReasoningSource,
    TrainingRow,
    content_key,
    folder_rows,
    is_task_folder,
    read_row,
    task_files,
)
from reasonembed_training.data.table import RowTable, require_datasets

__all__ = ["RowSource", "default_cache", "open_rows", "read_rows_of"]

_FORMAT = 1
"""Changes with the columns, so that files of an older format are written again."""
_ROWS_PER_BATCH = 256
_ROW_FILES = (".jsonl", ".jsonl.gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSource:
    """A source of training rows."""

    path: Path
    """A file of rows (.jsonl, .jsonl.gz), a folder of such files, or a BRIGHT-format folder."""
    split: str | None = None
    """Which examples of a BRIGHT-format folder."""
    task: str | None = None
    """Task of rows that name none; defaults to the name of the file or folder."""
    instruction: str | None = None
    """Instruction of rows that have none."""
    reasoning: ReasoningSource = "append"
    """How the examples of a BRIGHT-format folder get their reasoning queries."""
    only_with_reasoning: bool = False
    """Skip rows without a reasoning query."""


def open_rows(
    sources: Sequence[RowSource], *, cache: Path | None = None, on_rows: Callable[[int], None] | None = None
) -> RowTable:
    """Return the rows of all sources; the first call validates them and writes them to the cache folder.

    The file is named by a digest of the sources' bytes and options. on_rows is called with the number of rows written.
    Raises TrainingError or InputError, naming file:line, for the first invalid row, and for sources without rows.
    """
    if not sources:
        raise TrainingError("no data: want at least one [[data]] table with a path")
    folder = cache or default_cache()
    path = folder / f"{_digest(sources)}.arrow"
    if not path.is_file():
        _write(path, (row for source in sources for row in _read(source)), on_rows=on_rows)
    table = RowTable(path)
    if not len(table):
        raise TrainingError(f"{', '.join(str(source.path) for source in sources)}: no rows; want at least one")
    return table


def read_rows_of(paths: Sequence[Path]) -> list[TrainingRow]:
    """Return the rows of files, or of folders of such files, in memory.

    Raises TrainingError, naming file:line, for the first invalid row.
    """
    return [row for path in paths for row in _read(RowSource(path=path))]


def default_cache() -> Path:
    """Return the default folder of Arrow files: $XDG_CACHE_HOME or ~/.cache, reasonembed/training-rows."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "reasonembed" / "training-rows"


def _read(source: RowSource) -> Iterator[TrainingRow]:
    if is_task_folder(source.path):
        rows: Iterable[TrainingRow] = folder_rows(
            source.path, split=source.split, reasoning=source.reasoning, instruction=source.instruction
        )
        yield from _completed(rows, source, task=source.path.name)
        return
    for path in _row_files(source):
        file_rows = (read_row(fields, where=where) for where, fields in read_rows([path]))
        yield from _completed(file_rows, source, task=path.name.removesuffix(".gz").removesuffix(".jsonl"))


def _completed(rows: Iterable[TrainingRow], source: RowSource, *, task: str) -> Iterator[TrainingRow]:
    for row in rows:
        if source.only_with_reasoning and row.reasoning_query is None:
            continue
        yield replace(row, task=row.task or source.task or task, instruction=row.instruction or source.instruction)


def _row_files(source: RowSource) -> list[Path]:
    path = source.path
    given = {"split": source.split is not None, "reasoning": source.reasoning != "append"}
    unused = [name for name, one in given.items() if one]
    if path.is_file():
        files = [path] if path.name.endswith(_ROW_FILES) else []
    else:
        files = sorted(one for one in path.glob("*") if one.name.endswith(_ROW_FILES)) if path.is_dir() else []
    if not files:
        raise TrainingError(
            f"{path}: {'no training rows' if path.exists() else 'no such file or folder'}; want a .jsonl or .jsonl.gz "
            "file of training rows, a folder of them, or a folder of documents.jsonl and examples[.split].jsonl"
        )
    if unused:
        raise TrainingError(
            f"{path}: {unused[0]} applies to folders of documents and examples, and these are rows; leave it out"
        )
    return files


def _source_files(source: RowSource) -> list[Path]:
    return task_files(source.path, source.split) if is_task_folder(source.path) else _row_files(source)


def _digest(sources: Sequence[RowSource]) -> str:
    """Return 32 hexadecimal digits of the sources' bytes, names and options; not of their folders."""
    total = hashlib.blake2b(str(_FORMAT).encode(), digest_size=16)
    for source in sources:
        options = {**asdict(source), "path": source.path.name}
        total.update(repr(sorted(options.items())).encode())
        for path in _source_files(source):
            total.update(path.name.encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, hashlib.blake2b).digest())
    return total.hexdigest()


def _write(path: Path, rows: Iterator[TrainingRow], *, on_rows: Callable[[int], None] | None) -> None:
    """Write the rows as an Arrow stream."""
    schema = _schema()
    import pyarrow as pa

    with replacing(path) as file, pa.ipc.new_stream(file, schema) as writer:
        done = 0
        for batch in _batched(rows):
            writer.write_batch(pa.RecordBatch.from_pylist([_columns(row) for row in batch], schema=schema))
            done += len(batch)
            if on_rows is not None:
                on_rows(done)


def _batched(rows: Iterator[TrainingRow]) -> Iterator[list[TrainingRow]]:
    while batch := list(islice(rows, _ROWS_PER_BATCH)):
        yield batch


def _schema() -> Any:
    require_datasets()
    import pyarrow as pa

    text, texts = pa.large_string(), pa.large_list(pa.large_string())
    grades, size = pa.list_(pa.float32()), pa.int32()
    columns = {"id": text, "task": text, "instruction": text, "query": text, "reasoning_query": text}
    columns |= {"positives": texts, "negatives": texts, "positive_grades": grades, "negative_grades": grades}
    columns |= {"left_out_keys": pa.list_(pa.int64()), "group_size": size, "batch_size": size}
    return pa.schema(list(columns.items()))


def _columns(row: TrainingRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "task": row.task,
        "instruction": row.instruction,
        "query": row.query,
        "reasoning_query": row.reasoning_query,
        "positives": list(row.positives),
        "negatives": list(row.negatives),
        "positive_grades": row.positive_grades,
        "negative_grades": row.negative_grades,
        "left_out_keys": sorted({content_key(text) for text in (*row.positives, *row.excluded)}),
        "group_size": row.group,
        "batch_size": row.queries,
    }
