"""A cache of vectors on disk, shared by any number of processes on one machine.

One SQLite file in write-ahead mode: concurrent readers and writers, and a killed process leaves whole transactions or
none. (Write-ahead mode needs a local disk; network file systems do not support it.) Vectors are raw little-endian
float32, each with a checksum: they are returned bit for bit.

A damaged file is an error and is not rebuilt silently: other processes may hold it open, and a wrong path may name
another program's file. A vector with a wrong checksum counts as missing and is replaced when it is computed again.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from reasonembed_rag.errors import InputError, StoreError
from reasonembed_rag.files import Database

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["CachedVectors", "VectorCache", "encode_through_cache", "shared_cache", "vector_keys"]

_logger = logging.getLogger(__name__)

_FILE = "vectors.sqlite"
_APPLICATION = 0x52454D42  # "REMB"
_VERSION = 1
_LEAST_BYTES = 1 << 20
_BUSY_S = 30.0
"""How long a writer waits for the lock."""
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
_WINDOW = 16_384
"""Texts encoded between two writes: what a killed process can lose."""

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
    """Return a key of 20 bytes per text: a hash of everything that its vector depends on.

    spec is that of the call, its adapter included; affixes are the template before and after the text, instruction
    included. Every part is hashed with its length first, so that different parts never give the same bytes.
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
        self._database = Database(self._path, functools.partial(_connect, self._path))
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
                with _transaction(connection):
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
                with _transaction(connection):
                    used = self._flush_uses(connection)
                    self._make_room(connection, rows=min(chunk, len(keys) - start), row_bytes=row_bytes)
                    for key, vector in zip(keys[start : start + chunk], raw[start : start + chunk], strict=True):
                        _write(connection, key, vector.tobytes(), used)

    def close(self) -> None:
        """Record the latest uses and close the file; the next use opens it again."""
        if not self._database.is_open:
            return
        try:
            with self._opened() as connection, _transaction(connection):
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
            raise _store_error(self._path, error) from error


@functools.cache
def shared_cache(folder: str, max_bytes: int) -> VectorCache:
    """Return this process's cache of a folder."""
    return VectorCache(folder, max_bytes=max_bytes)


def encode_through_cache(
    texts: Sequence[str],
    cache: VectorCache,
    keys: Sequence[bytes],
    encode_missing: Callable[[list[str]], NDArray[np.float32]],
    *,
    dimension: int,
) -> NDArray[np.float32]:
    """Return float32 vectors (n, dimension) of the texts, encoding only those with missing keys, each key once.

    New vectors are written to the cache at intervals; if it cannot be written (a full disk), a warning is logged and
    the vectors are returned all the same. Raises StoreError for a cache that cannot be read, and what encode_missing
    raises.
    """
    if len(texts) != len(keys):
        raise InputError(f"got {len(texts)} texts and {len(keys)} keys; want one key per text")
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
        made = _is_ours(connection, path)  # checked before anything is written
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
        if not _is_ours(connection, path):  # another process may have created it in the meantime
            for statement in _SCHEMA:
                connection.execute(statement)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead mode, retrying: SQLite does not wait for this lock when two processes switch at once."""
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
    """Return whether the file is a cache, False if it is empty; raises StoreError for anything else."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        return False
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise StoreError(f"{path}: is another program's database; want a separate folder for the cache")
    if version != _VERSION:
        raise StoreError(f"{path}: has format {version}, this version writes {_VERSION}; delete it to continue")
    return True


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # after a full disk SQLite has rolled back already
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
    """Return the bytes of the pages in use; free pages are reused before the file grows."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_bytes = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page_bytes


def _store_error(path: Path, error: Exception) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreError(f"{path}: damaged or not a cache ({error}); delete it: its vectors will be computed again")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(f"{path}: locked by another process for {_BUSY_S:.0f} s; stop that process")
    return StoreError(f"{path}: cannot be used ({error}); want a writable folder on a local disk with free space")
