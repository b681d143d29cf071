"""A cache of vectors on disk, shared by any number of processes on one machine.

One SQLite file in write-ahead mode: concurrent readers and writers, and a killed process leaves whole transactions or
none. (Write-ahead mode needs a local disk; network file systems do not support it.) Vectors are raw little-endian
float32, each with a checksum: they are returned bit for bit.

A damaged file is an error and is not rebuilt silently: other processes may hold it open, and a wrong path may name
another program's file. A vector with a wrong checksum counts as missing and is replaced when it is computed again.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reasonembed_rag.encoder.cache_file import cache_error, open_cache_file
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_rag.files import Database, transaction

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray


__all__ = ["CachedVectors", "VectorCache", "shared_cache"]

_logger = logging.getLogger(__name__)

_FILE = "vectors.sqlite"
_LEAST_BYTES = 1 << 20
_CHUNK_KEYS = 500
"""Keys per query; every build of SQLite allows at least 999."""
_CHUNK_BYTES = 4 << 20
"""Bytes per transaction: bounds the write-ahead log and how long other writers wait."""
_ROW_BYTES = 200
"""Most bytes of a row without its vector: id, time of use, checksum, and its key twice."""
_PAGE_WASTE = 2
"""Pages take at most twice the bytes of their rows: a row just above half a page fills one alone."""
_MANY_USES = 100_000
"""Hits recorded in memory before they are written to disk."""


@dataclass(frozen=True, slots=True)
class CachedVectors:
    """Vectors (m, D) found in a cache, and the indices (m,) of their keys, ascending."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class VectorCache:
    """Vectors by key in a folder; the least recently used are evicted once `max_bytes` are reached.

    max_bytes bounds the database file; its write-ahead log takes a few more megabytes while it is open. Threads may
    share a cache, processes may share a folder. The file is opened or created at the first use.
    """

    def __init__(self, folder: Path | str, *, max_bytes: int) -> None:
        if max_bytes < _LEAST_BYTES:
            raise InputError(f"max_bytes is {max_bytes}; want at least {_LEAST_BYTES} (1 MiB)")
        self._path = Path(folder) / _FILE
        self._max_bytes = max_bytes
        self._database = Database(self._path, functools.partial(open_cache_file, self._path))
        self._uses: dict[int, int] = {}
        self._clock = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the folder and its limit."""
        return functools.partial(VectorCache, max_bytes=self._max_bytes), (self._path.parent,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, keys: Sequence[bytes], *, dimension: int) -> CachedVectors:
        """Return the cached vectors of this dimension; those of another dimension count as missing.

        Raises StoreError for a file that cannot be read.
        """
        positions: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            positions.setdefault(key, []).append(row)
        distinct = list(positions)
        rows: list[int] = []
        vectors: list[NDArray[np.float32]] = []
        with self._opened() as connection:
            self._clock += 1
            for start in range(0, len(distinct), _CHUNK_KEYS):
                for key, vector in self._read(connection, distinct[start : start + _CHUNK_KEYS], dimension):
                    rows.extend(positions[key])
                    vectors.extend([vector] * len(positions[key]))
            if len(self._uses) > _MANY_USES:
                with transaction(connection):
                    self._flush_uses(connection)
        order = np.argsort(np.asarray(rows, dtype=np.int64), kind="stable")
        stacked = np.stack(vectors) if vectors else np.empty((0, dimension), dtype=np.float32)
        return CachedVectors(np.asarray(rows, dtype=np.int64)[order], stacked[order])

    def put(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Store the vectors (len(keys), D), evicting others if needed; existing keys are replaced.

        Raises InputError for a wrong number of vectors and for vectors that are not finite or too large for max_bytes,
        StoreError for a file that cannot be written.
        """
        raw = np.ascontiguousarray(vectors, dtype="<f4")
        if raw.ndim != 2 or len(raw) != len(keys):
            raise InputError(f"got {len(keys)} keys and vectors of shape {raw.shape}; want one row per key")
        if not np.isfinite(raw).all():
            raise InputError("vectors contain NaN or infinity; want finite numbers: encode the texts again")
        row_bytes = raw.shape[1] * 4 + _ROW_BYTES
        chunk_bytes = min(_CHUNK_BYTES, self._max_bytes // (4 * _PAGE_WASTE))
        if row_bytes > chunk_bytes:
            raise InputError(
                f"a vector takes {row_bytes} bytes, max_bytes is {self._max_bytes}; want a larger max_bytes"
            )
        chunk = chunk_bytes // row_bytes
        with self._opened() as connection:
            self._clock += 1
            for start in range(0, len(keys), chunk):
                with transaction(connection):
                    used = self._flush_uses(connection)
                    self._make_room(connection, rows=min(chunk, len(keys) - start), row_bytes=row_bytes)
                    for key, vector in zip(keys[start : start + chunk], raw[start : start + chunk], strict=True):
                        _write(connection, key, vector.tobytes(), used)

    def close(self) -> None:
        """Record the latest uses and close the file; the next use opens it again."""
        if not self._database.is_open:
            return
        try:
            with self._opened() as connection, transaction(connection):
                self._flush_uses(connection)
        except StoreError as error:  # only the order of eviction is lost
            _logger.warning("the cache was closed without recording the latest uses: %s", error)
        finally:
            self._database.release()

    def _read(
        self, connection: sqlite3.Connection, keys: Sequence[bytes], dimension: int
    ) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
        placeholders = ",".join("?" * len(keys))
        query = (
            "SELECT key, id, checksum, vector FROM entries JOIN vectors USING (id)"  # noqa: S608 - placeholders only
            f" WHERE key IN ({placeholders}) AND length(vector) = ?"
        )
        for key, identity, checksum, raw in connection.execute(query, (*keys, dimension * 4)):
            if zlib.crc32(raw, zlib.crc32(key)) != checksum:
                _logger.warning("%s: a vector is damaged on disk and will be computed again", self._path)
                continue
            self._uses[identity] = self._clock
            yield key, np.frombuffer(raw, dtype="<f4")

    def _flush_uses(self, connection: sqlite3.Connection) -> int:
        """Write the uses since the last flush, in their order; return the time of use for current ones."""
        (latest,) = connection.execute("SELECT coalesce(max(used), 0) FROM entries").fetchone()
        uses = [(latest + use, identity) for identity, use in self._uses.items()]
        connection.executemany("UPDATE entries SET used = ? WHERE id = ?", uses)
        self._uses.clear()
        now, self._clock = int(latest) + self._clock, 0
        return now

    def _make_room(self, connection: sqlite3.Connection, *, rows: int, row_bytes: int) -> None:
        """Evict the least recently used vectors until `rows` more fit."""
        room = self._max_bytes - rows * row_bytes * _PAGE_WASTE
        while (excess := _used_bytes(connection) - room) > 0:
            count = 1 + excess // row_bytes
            oldest = [
                row[:1] for row in connection.execute("SELECT id FROM entries ORDER BY used, id LIMIT ?", (count,))
            ]
            if not oldest:
                return
            connection.executemany("DELETE FROM entries WHERE id = ?", oldest)
            connection.executemany("DELETE FROM vectors WHERE id = ?", oldest)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Yield this process's connection to one thread at a time; raise SQLite's errors as StoreError."""
        try:
            with self._database.connection() as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise cache_error(self._path, error) from error


@functools.cache
def shared_cache(folder: str, max_bytes: int) -> VectorCache:
    """Return this process's cache of a folder."""
    return VectorCache(folder, max_bytes=max_bytes)


def _write(connection: sqlite3.Connection, key: bytes, raw: bytes, used: int) -> None:
    checksum = zlib.crc32(raw, zlib.crc32(key))
    (identity,) = connection.execute(
        "INSERT INTO entries (key, used, checksum) VALUES (?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET used = excluded.used, checksum = excluded.checksum RETURNING id",
        (key, used, checksum),
    ).fetchone()
    connection.execute("INSERT OR REPLACE INTO vectors (id, vector) VALUES (?, ?)", (identity, raw))


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages in use; free pages are reused before the file grows."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_bytes = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page_bytes
