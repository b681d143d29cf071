"""A cache of vectors on disk, shared by any number of processes of one machine.

One SQLite file in write-ahead mode: many readers and writers at once, and a process that is killed leaves whole
transactions or none. (The write-ahead mode needs a local disk; network file systems do not carry it.) Vectors are raw
little-endian float32 with a checksum each: what comes back is what went in, to the bit.

A damaged file is an error, not rebuilt in silence: other processes may hold it open, and a wrong path may name
somebody's own file. A single vector whose checksum is wrong counts as absent and is replaced when it is put again.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from reasonembed_rag.errors import InputError, StoreError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["Found", "VectorCache", "cached", "shared_cache", "vector_keys"]

_logger = logging.getLogger(__name__)

_FILE = "vectors.sqlite"
_APPLICATION = 0x52454D42  # "REMB"
_VERSION = 1
_LEAST_BYTES = 1 << 20
_BUSY_S = 30.0
"""How long a writer waits for its turn."""
_CHUNK_KEYS = 500
"""Keys a question; SQLite's builds allow at least 999."""
_CHUNK_BYTES = 4 << 20
"""Bytes a transaction: bounds the write-ahead log, and how long other writers wait."""
_ROW_BYTES = 200
"""Bytes that a row takes beside its vector, at most: id, mark, checksum, and its key twice."""
_PAGE_WASTE = 2
"""Pages take at most twice the bytes of their rows: a row just above half a page has the page to itself."""
_MANY_TOUCHED = 100_000
"""Hits noted in memory before they are written down."""
_WINDOW = 16_384
"""Texts encoded between two writes: what a kill can lose."""

_SCHEMA = (
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, checksum INTEGER NOT NULL)""",
    "CREATE INDEX entries_used ON entries (used)",
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)


def vector_keys(
    spec: EmbeddingSpec, texts: Sequence[str], *, role: Literal["query", "document"], affixes: tuple[str, str]
) -> list[bytes]:
    """Return a key of 20 bytes for each text: all that its vector depends on, hashed.

    spec is that of the call, its adapter included; affixes are what stands before and after the text, the instruction
    filled in. Every part is hashed behind its length, so that no two different sets of parts run together.
    """
    common = hashlib.blake2b(digest_size=20)
    for part in (spec.digest(), role, *affixes):
        _feed(common, part)
    keys: list[bytes] = []
    for text in texts:
        own = common.copy()
        _feed(own, text)
        keys.append(own.digest())
    return keys


def _feed(digest: hashlib.blake2b, part: str) -> None:
    raw = part.encode(errors="surrogatepass")
    digest.update(len(raw).to_bytes(8, "little"))
    digest.update(raw)


@dataclass(frozen=True, slots=True)
class Found:
    """What a cache holds of the keys it was asked for: their positions (m,), ascending, and vectors (m, D)."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class VectorCache:
    """Vectors by key in a folder, the least recently used giving way once `max_bytes` are full.

    max_bytes bounds the database file; its write-ahead log takes a few megabytes beside it while it is open. Threads
    may share a cache, and processes a folder. The file is opened, or made, at the first use.
    """

    def __init__(self, folder: Path | str, *, max_bytes: int) -> None:
        if max_bytes < _LEAST_BYTES:
            raise InputError(f"max_bytes is {max_bytes}; want at least {_LEAST_BYTES} (1 MiB)")
        self._path = Path(folder) / _FILE
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection | None] = []
        self._owner = 0
        self._touched: dict[int, int] = {}
        self._turn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, keys: Sequence[bytes], *, dimension: int) -> Found:
        """Return the vectors that are there in this dimension; one of another dimension is not found.

        Raises StoreError for a file that cannot be read.
        """
        positions: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            positions.setdefault(key, []).append(row)
        distinct = list(positions)
        rows: list[int] = []
        vectors: list[NDArray[np.float32]] = []
        with self._lock, self._opened() as connection:
            self._turn += 1
            for start in range(0, len(distinct), _CHUNK_KEYS):
                for key, vector in self._read(connection, distinct[start : start + _CHUNK_KEYS], dimension):
                    rows.extend(positions[key])
                    vectors.extend([vector] * len(positions[key]))
            if len(self._touched) > _MANY_TOUCHED:
                with _transaction(connection):
                    self._flush_touched(connection)
        order = np.argsort(np.asarray(rows, dtype=np.int64), kind="stable")
        stacked = np.stack(vectors) if vectors else np.empty((0, dimension), dtype=np.float32)
        return Found(np.asarray(rows, dtype=np.int64)[order], stacked[order])

    def put(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Keep the vectors (len(keys), D), making room for them; a key that is there is replaced.

        Raises InputError for vectors of another number, not finite or too large for max_bytes, StoreError for a file
        that cannot be written.
        """
        raw = np.ascontiguousarray(vectors, dtype="<f4")
        if raw.ndim != 2 or len(raw) != len(keys):
            raise InputError(f"got {len(keys)} keys and vectors of shape {raw.shape}; want one row a key")
        if not np.isfinite(raw).all():
            raise InputError("vectors hold NaN or infinity; want finite numbers: encode the texts again")
        row_bytes = raw.shape[1] * 4 + _ROW_BYTES
        chunk_bytes = min(_CHUNK_BYTES, self._max_bytes // (4 * _PAGE_WASTE))
        if row_bytes > chunk_bytes:
            raise InputError(f"a vector takes {row_bytes} bytes, max_bytes is {self._max_bytes}; raise max_bytes")
        chunk = chunk_bytes // row_bytes
        with self._lock, self._opened() as connection:
            self._turn += 1
            for start in range(0, len(keys), chunk):
                with _transaction(connection):
                    used = self._flush_touched(connection)
                    self._make_room(connection, rows=min(chunk, len(keys) - start), row_bytes=row_bytes)
                    for key, vector in zip(keys[start : start + chunk], raw[start : start + chunk], strict=True):
                        _write(connection, key, vector.tobytes(), used)

    def close(self) -> None:
        """Note what was used, and close the file; the next use opens it again."""
        with self._lock:
            if self._connection is None or self._owner != os.getpid():
                return
            try:
                with self._opened() as connection, _transaction(connection):
                    self._flush_touched(connection)
            except StoreError as error:  # what is lost is only which vectors were used last
                _logger.warning("the cache was closed without noting what was used: %s", error)
            finally:
                self._connection.close()
                self._connection = None

    def _read(
        self, connection: sqlite3.Connection, keys: Sequence[bytes], dimension: int
    ) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
        marks = ",".join("?" * len(keys))
        question = (
            "SELECT key, id, checksum, vector FROM entries JOIN vectors USING (id)"  # noqa: S608 - question marks only
            f" WHERE key IN ({marks}) AND length(vector) = ?"
        )
        for key, identity, checksum, raw in connection.execute(question, (*keys, dimension * 4)):
            if zlib.crc32(raw, zlib.crc32(key)) != checksum:
                _logger.warning("%s: a vector is damaged on disk; it will be computed again", self._path)
                continue
            self._touched[identity] = self._turn
            yield key, np.frombuffer(raw, dtype="<f4")

    def _flush_touched(self, connection: sqlite3.Connection) -> int:
        """Write down what was used since the last time, in its order; return the mark of what is used now."""
        (latest,) = connection.execute("SELECT coalesce(max(used), 0) FROM entries").fetchone()
        marks = [(latest + turn, identity) for identity, turn in self._touched.items()]
        connection.executemany("UPDATE entries SET used = ? WHERE id = ?", marks)
        self._touched.clear()
        now, self._turn = int(latest) + self._turn, 0
        return now

    def _make_room(self, connection: sqlite3.Connection, *, rows: int, row_bytes: int) -> None:
        """Drop the least recently used until `rows` more fit."""
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
        """Yield the connection, made where there is none in this process; SQLite's errors come out as StoreError."""
        try:
            if self._owner != os.getpid():
                self._inherited.append(self._connection)  # a forked child may not even close its parent's
                self._connection, self._owner = None, os.getpid()
            if self._connection is None:
                self._connection = _connect(self._path)
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            raise _store_error(self._path, error) from error


@functools.cache
def shared_cache(folder: str, max_bytes: int) -> VectorCache:
    """Return this process's cache of a folder."""
    return VectorCache(folder, max_bytes=max_bytes)


def cached(
    texts: Sequence[str],
    cache: VectorCache,
    keys: Sequence[bytes],
    encode_missing: Callable[[list[str]], NDArray[np.float32]],
    *,
    dimension: int,
) -> NDArray[np.float32]:
    """Return float32 vectors (n, dimension) of the texts, encoding only those whose key the cache lacks, once a key.

    What is encoded is put into the cache by and by; a cache that cannot be written (a full disk) costs a warning, not
    the vectors. Raises StoreError for a cache that cannot be read, and what encode_missing raises.
    """
    if len(texts) != len(keys):
        raise InputError(f"got {len(texts)} texts and {len(keys)} keys; want one key a text")
    vectors = np.empty((len(texts), dimension), dtype=np.float32)
    found = cache.get(keys, dimension=dimension)
    vectors[found.rows] = found.vectors
    absent = np.ones(len(texts), dtype=bool)
    absent[found.rows] = False
    rows_of_key: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(absent).tolist():
        rows_of_key.setdefault(keys[row], []).append(row)
    missing = list(rows_of_key)
    for start in range(0, len(missing), _WINDOW):
        window = missing[start : start + _WINDOW]
        fresh = encode_missing([texts[rows_of_key[key][0]] for key in window])
        if fresh.shape != (len(window), dimension):
            raise InputError(f"encode_missing gave {fresh.shape}; want {(len(window), dimension)}")
        for key, vector in zip(window, fresh, strict=True):
            vectors[rows_of_key[key]] = vector
        try:
            cache.put(window, fresh)
        except StoreError as error:
            _logger.warning("%d vectors were computed but not cached: %s", len(window), error)
    return vectors


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        made = _is_ours(connection, path)  # before anything is written
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_CHUNK_BYTES}")
        if not made:
            _make(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection, path: Path) -> None:
    with _transaction(connection):
        if not _is_ours(connection, path):  # another process may have been quicker
            for statement in _SCHEMA:
                connection.execute(statement)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead mode on; two processes doing so at once can meet a lock that does not wait by itself."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file holds a cache, False where it is empty; raise StoreError where it is something else."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        return False
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise StoreError(f"{path}: is another program's database; give the cache a folder of its own")
    if version != _VERSION:
        raise StoreError(f"{path}: has format {version}, this program writes {_VERSION}; delete it to go on")
    return True


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _write(connection: sqlite3.Connection, key: bytes, raw: bytes, used: int) -> None:
    checksum = zlib.crc32(raw, zlib.crc32(key))
    (identity,) = connection.execute(
        "INSERT INTO entries (key, used, checksum) VALUES (?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET used = excluded.used, checksum = excluded.checksum RETURNING id",
        (key, used, checksum),
    ).fetchone()
    connection.execute("INSERT OR REPLACE INTO vectors (id, vector) VALUES (?, ?)", (identity, raw))


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Return the bytes of the pages that hold something; free pages are used again before the file grows."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_bytes = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page_bytes


def _store_error(path: Path, error: Exception) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreError(f"{path}: damaged, or no cache ({error}); delete it: its vectors will be computed again")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(f"{path}: another process has kept it locked for {_BUSY_S:.0f} s; end that process")
    return StoreError(f"{path}: cannot be used ({error}); want a writable folder on a local disk with room left")
