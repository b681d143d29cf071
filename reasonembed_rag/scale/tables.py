"""The files and tables of a corpus, and Parquet files, Lance datasets and Iceberg tables as Arrow from a row on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.files import TABLE_SUFFIXES
from reasonembed_rag.scale.places import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["ArrowTable", "InputFile", "find_inputs", "open_table", "require_lance"]

_ICEBERG, _SNAPSHOT, _FILE = "iceberg://", "?snapshot=", "#"
_VERSION = "?version="
_LANCE_MARK = re.compile(r"/_versions/")
_REFUSED = {
    "an Iceberg table, whose files hold deleted rows too; name it as iceberg://CATALOG/NAMESPACE.TABLE": re.compile(
        r"/metadata/[^/]+\.metadata\.json$"
    ),
    "a Delta table, whose files hold deleted rows too; write it as Parquet first": re.compile(r"/_delta_log/"),
}


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file or table of documents as it was when the plan was made."""

    address: str
    """With the version of a Lance dataset, or the snapshot of an Iceberg table and one of its files."""
    size: int


class ArrowTable(Protocol):
    """Rows in an order that does not change."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        ...

    def scan(self, columns: list[str], *, size: int) -> Iterator[Any]:
        """Yield all rows in record batches of at most `size`."""
        ...

    def read(self, start: int, rows: int, columns: list[str] | None) -> Any:
        """Return some rows as a pyarrow.Table; all columns for None."""
        ...


def find_inputs(sources: Sequence[str]) -> list[InputFile]:
    """Return the files and tables of documents in sources; raises InputError where there is none."""
    found: dict[str, InputFile] = {}
    for source in sources:
        here = _iceberg_files(source) if source.startswith(_ICEBERG) else _listed(source)
        if not here:
            raise InputError(
                f"{source}: has no file of documents; want {', '.join(TABLE_SUFFIXES)}, a Lance dataset or "
                "iceberg://CATALOG/NAMESPACE.TABLE"
            )
        found |= {address: InputFile(address, size) for address, size in here}
    return list(found.values())


def _listed(source: str) -> list[tuple[str, int]]:
    address, version = _split_version(source)
    listed = {place.address: size for place, size in Place(address).listed()}
    tables = _lake_tables(listed)
    if version and not tables:
        raise InputError(f"{source}: is no Lance dataset, which alone has versions; leave {_VERSION}{version} out")
    parts = tuple(f"{table}/" for table in tables)
    files = [(one, size) for one, size in listed.items() if one.endswith(TABLE_SUFFIXES) and not one.startswith(parts)]
    return files + [_pinned_lance(table, version) for table in sorted(tables)]


def _lake_tables(listed: Mapping[str, int]) -> set[str]:
    """Return the folders of Lance datasets; raises InputError for tables that cannot be read file by file."""
    for kind, mark in _REFUSED.items():
        if found := next((match for address in listed if (match := mark.search(address))), None):
            raise InputError(f"{found.string[: found.start()]}: is {kind}")
    return {address[: match.start()] for address in listed if (match := _LANCE_MARK.search(address))}


def _split_version(source: str) -> tuple[str, str]:
    """Return a source without the version of a Lance dataset that it names, and the version, or ''."""
    address, _, version = source.partition(_VERSION)
    return address, version


@contextmanager
def open_table(address: str) -> Iterator[ArrowTable]:
    """Open a table by the address that it has in a plan; raises InputError where it cannot be read."""
    if address.startswith(_ICEBERG):
        yield _Held(_iceberg_file(address))
    elif _VERSION in address:
        yield _Lance(_lance(address))
    else:
        with _parquet(address) as table:
            yield table


@contextmanager
def _parquet(address: str) -> Iterator[ArrowTable]:
    import pyarrow as pa
    from pyarrow import parquet

    with Place(address).opened() as opened:
        try:
            file = parquet.ParquetFile(opened)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{address}: cannot be read as Parquet ({error}); copy it again") from error
        yield _Parquet(file)


class _Parquet:
    def __init__(self, file: Any) -> None:
        self._file, self.names = file, list(file.schema_arrow.names)

    def scan(self, columns: list[str], *, size: int) -> Iterator[Any]:
        yield from self._file.iter_batches(batch_size=size, columns=columns)

    def read(self, start: int, rows: int, columns: list[str] | None) -> Any:
        file = self._file
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        groups = [g for g, first in enumerate(starts) if first < start + rows and first + sizes[g] > start]
        return file.read_row_groups(groups, columns=columns).slice(start - starts[groups[0]] if groups else 0, rows)


def require_lance() -> Any:
    """Return the module lance; raises MissingDependencyError where it is not installed."""
    try:
        import lance
    except ImportError as error:
        package, extra = "pylance", "lance"
        raise MissingDependencyError(package, extra) from error
    return lance


def _pinned_lance(address: str, version: str) -> tuple[str, int]:
    """Return the address of a version of a Lance dataset, of the latest for '', and its number of rows."""
    if version and not version.isdecimal():
        raise InputError(f"{address}: {version!r} is no version; want a number, as in NAME.lance{_VERSION}3")
    dataset = _lance(f"{address}{_VERSION}{version}")
    return f"{address}{_VERSION}{dataset.version}", int(dataset.count_rows())


def _lance(address: str) -> Any:
    lance = require_lance()
    path, version = _split_version(address)
    try:
        return lance.dataset(path, version=int(version) if version else None)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{address}: cannot be read as a Lance dataset ({error})") from error


class _Lance:
    def __init__(self, dataset: Any) -> None:
        self._dataset, self.names = dataset, list(dataset.schema.names)

    def scan(self, columns: list[str], *, size: int) -> Iterator[Any]:
        yield from self._dataset.to_batches(columns=columns, batch_size=size, scan_in_order=True)

    def read(self, start: int, rows: int, columns: list[str] | None) -> Any:
        return self._dataset.to_table(columns=columns, offset=start, limit=rows, scan_in_order=True)


def _iceberg_files(source: str) -> list[tuple[str, int]]:
    """Return the addresses of an Iceberg table's files in a snapshot, by default the current one, and their sizes."""
    scan = _iceberg_scan(source)
    snapshot = scan.snapshot()
    if snapshot is None:
        return []
    base = source.partition(_SNAPSHOT)[0]
    files = {task.file.file_path: int(task.file.file_size_in_bytes) for task in scan.plan_files()}
    return [(f"{base}{_SNAPSHOT}{snapshot.snapshot_id}{_FILE}{path}", size) for path, size in sorted(files.items())]


def _iceberg_scan(address: str) -> Any:
    try:
        from pyiceberg.catalog import load_catalog
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
    except ImportError as error:
        package, extra = "pyiceberg", "iceberg"
        raise MissingDependencyError(package, extra) from error
    source, _, snapshot = address.partition(_SNAPSHOT)
    catalog, _, name = source.removeprefix(_ICEBERG).partition("/")
    if not catalog or "." not in name or (snapshot and not snapshot.isdecimal()):
        raise InputError(f"{address}: want iceberg://CATALOG/NAMESPACE.TABLE, or with {_SNAPSHOT}NUMBER after it")
    try:
        table = load_catalog(catalog).load_table(name)
        scan = table.scan(snapshot_id=int(snapshot) if snapshot else None)
        scan.projection()
    except (NoSuchTableError, NoSuchNamespaceError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{address}: cannot be opened ({error}); want a table of a catalog that ~/.pyiceberg.yaml or "
            f"PYICEBERG_CATALOG__{catalog.upper()}__URI describes"
        ) from error
    return scan


@lru_cache(maxsize=1)
def _iceberg_file(address: str) -> Any:
    """Return the rows of a file without the deleted ones; the last is kept, since its next rows are asked for next."""
    from pyiceberg.io.pyarrow import ArrowScan

    source, _, path = address.partition(_FILE)
    scan = _iceberg_scan(source)
    tasks = [task for task in scan.plan_files() if task.file.file_path == path]
    if not tasks:
        raise InputError(f"{address}: is not in that snapshot any more; want a snapshot that was not expired")
    try:
        return ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter).to_table(tasks)
    except (OSError, ValueError) as error:
        raise InputError(f"{address}: cannot be read ({error}); the file is gone or damaged") from error


class _Held:
    """Rows that are in memory."""

    def __init__(self, table: Any) -> None:
        self._table, self.names = table, list(table.schema.names)

    def scan(self, columns: list[str], *, size: int) -> Iterator[Any]:
        yield from self._table.select(columns).combine_chunks().to_batches(max_chunksize=size)

    def read(self, start: int, rows: int, columns: list[str] | None) -> Any:
        found = self._table.slice(start, rows)
        return found if columns is None else found.select(columns)
