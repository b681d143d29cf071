"""The documents of a store, in SQLite: the one place where a change is committed."""

from __future__ import annotations

import itertools
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import StoreError
from reasonembed_stores.batch import Batch
from reasonembed_stores.metadata import decode_json

__all__ = ["Catalog", "Change", "Extent", "Snapshot", "State"]

_SCHEMA = """
CREATE TABLE state (
    generation INTEGER NOT NULL, layout INTEGER NOT NULL, next_key INTEGER NOT NULL, dimension INTEGER,
    codes TEXT NOT NULL, index_kind TEXT NOT NULL, spec TEXT
);
CREATE TABLE documents (
    key INTEGER PRIMARY KEY, id TEXT NOT NULL, content TEXT NOT NULL, metadata TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE UNIQUE INDEX documents_id ON documents (id);
CREATE TABLE tombstones (key INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
CREATE TABLE extents (start INTEGER PRIMARY KEY, count INTEGER NOT NULL, sha256 BLOB NOT NULL);
"""
_BATCH = 2000
_MANY = 1000
_PATIENCE_S = 30


@dataclass(frozen=True, slots=True)
class State:
    """What a store is and how far it has come."""

    generation: int
    """Counts commits."""
    layout: int
    """Counts how often the vectors were written anew; a slot means something only within one layout."""
    next_key: int
    """The key of the next document: keys only grow, and none is given twice."""
    dimension: int | None
    codes: str
    index_kind: str
    spec: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of vectors written at once, with the SHA-256 of its bytes."""

    start: int
    count: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """One commit: the documents that go, by key, and those that come."""

    state: State
    dead: Sequence[int] = ()
    born: Batch = field(default_factory=lambda: Batch([], [], []))
    """Their keys end before the state's next one."""
    extents: Sequence[Extent] = ()
    rewritten: bool = False
    """Whether the vectors were written anew, without the dead: old tombstones and extents go."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A committed state: the keys in the order of their slots, and which of them still have a document."""

    state: State
    keys: NDArray[np.int64]
    dead: NDArray[np.int64]
    extents: tuple[Extent, ...]


def _checksum(identity: str, content: str, metadata: str) -> int:
    return zlib.crc32(f"{identity}\0{content}\0{metadata}".encode())


class Catalog:
    """One connection to the documents, shared by threads."""

    def __init__(self, connection: sqlite3.Connection, name: str, *, durable: bool = True) -> None:
        self._connection = connection
        self._name = name
        self._durable = durable
        self._lock = RLock()

    @classmethod
    def create(cls, path: Path | None, state: State) -> Self:
        """Make an empty catalog, in memory where there is no path."""
        name = str(path) if path is not None else "the store in memory"
        with _told(name):
            uri = "file::memory:" if path is None else f"{path.absolute().as_uri()}?mode=rwc"
            catalog = cls(_connect(uri), name, durable=path is not None)
            # Documents are long: with larger pages than SQLite's own they are written faster.
            catalog._connection.execute(f"PRAGMA page_size={65536 if path is None else 16384}")
            if path is not None:
                # Write-ahead logging lets readers read on while one writer commits, and survives kill -9.
                catalog._connection.execute("PRAGMA journal_mode=WAL")
            catalog._connection.executescript(_SCHEMA)
            catalog._connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(state))
        return catalog

    @classmethod
    def open(cls, path: Path, *, immutable: bool = False) -> Self:
        """Open a catalog; an immutable one lies where nothing can be written and nobody writes."""
        with _told(str(path)):
            connection = _connect(f"{path.absolute().as_uri()}?{'immutable=1' if immutable else 'mode=rw'}")
            connection.execute("PRAGMA synchronous=FULL")
        return cls(connection, str(path))

    def close(self) -> None:
        """Close the connection; committed changes stay."""
        with self._reading():
            self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _told(self._name):
            yield self._connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def version(self) -> int:
        """Return a number that changes when another connection has committed."""
        with self._reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0])

    def snapshot(self, *, after_key: int = -1, after_generation: int = -1) -> Snapshot:
        """Return the committed state, or only what came after a key and a generation within the same layout."""
        with self._transaction("BEGIN") as connection:
            state = State(*connection.execute("SELECT * FROM state").fetchone())
            born = _integers(
                connection,
                "SELECT key FROM documents WHERE key > :key UNION ALL SELECT key FROM tombstones WHERE key > :key",
                {"key": after_key},
            )
            dead = _integers(connection, "SELECT key FROM tombstones WHERE generation > ?", (after_generation,))
            extents = connection.execute("SELECT start, count, sha256 FROM extents ORDER BY start").fetchall()
        return Snapshot(state, np.sort(born), dead, tuple(Extent(*row) for row in extents))

    def commit(self, change: Change) -> None:
        """Make one change, or none of it."""
        state = change.state
        with self._transaction("BEGIN IMMEDIATE") as connection:
            columns = "generation, layout, next_key, dimension, codes, index_kind, spec"
            connection.execute(f"UPDATE state SET ({columns}) = (?, ?, ?, ?, ?, ?, ?)", astuple(state))  # noqa: S608 - names of our own
            if change.rewritten:
                connection.execute("DELETE FROM tombstones")
                connection.execute("DELETE FROM extents")
            if change.dead:
                dead = json.dumps([int(key) for key in change.dead])
                connection.execute("DELETE FROM documents WHERE key IN (SELECT value FROM json_each(?))", (dead,))
                if not change.rewritten:
                    connection.execute(
                        "INSERT INTO tombstones SELECT value, ? FROM json_each(?)", (state.generation, dead)
                    )
            self._insert(connection, change)
            connection.executemany(
                "INSERT INTO extents VALUES (?, ?, ?)", [astuple(extent) for extent in change.extents]
            )

    def _insert(self, connection: sqlite3.Connection, change: Change) -> None:
        born, last = change.born, change.state.next_key
        columns = born.ids, born.contents, born.metadatas
        # An index over many new ids is made faster at once than entry by entry.
        fresh = len(born) >= _MANY and not connection.execute("SELECT 1 FROM documents LIMIT 1").fetchone()
        try:
            checksums = map(_checksum, *columns) if self._durable else itertools.repeat(0)
            if fresh:
                connection.execute("DROP INDEX documents_id")
            rows = zip(range(last - len(born), last), *columns, checksums, strict=False)
            connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", rows)
            if fresh:
                connection.execute("CREATE UNIQUE INDEX documents_id ON documents (id)")
        except UnicodeEncodeError:
            born.check_unicode()
            raise

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the keys of the documents with these ids; unknown ids are left out."""
        query = "SELECT documents.id, documents.key FROM json_each(?) JOIN documents ON documents.id = json_each.value"
        return dict(self._rows(query, json.dumps(ids)))

    def ids_of(self, keys: Sequence[int]) -> dict[int, str]:
        """Return the ids of the documents with these keys; those gone since are left out."""
        query = "SELECT documents.key, documents.id FROM json_each(?) JOIN documents ON documents.key = json_each.value"
        return dict(self._rows(query, json.dumps(keys)))

    def documents_of(self, keys: Sequence[int]) -> dict[int, Document]:
        """Return the documents with these keys, checked; those gone since are left out."""
        query = (
            "SELECT documents.key, documents.id, content, metadata, checksum FROM json_each(?)"
            " JOIN documents ON documents.key = json_each.value"
        )
        return {row[0]: self._document(row) for row in self._rows(query, json.dumps(keys))}

    def documents(self) -> Iterator[tuple[int, Document]]:
        """Yield every document with its key, checked, in the order of keys."""
        query = "SELECT key, id, content, metadata, checksum FROM documents WHERE key > ? ORDER BY key LIMIT ?"
        for row in self._pages(query, -1):
            yield row[0], self._document(row)

    def verify(self) -> None:
        """Compare every document with its checksum; raises StoreError at the first that differs."""
        for _ in self.documents():
            pass

    def metadata(self, after_key: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (key, metadata) of the documents after a key."""
        query = "SELECT key, metadata FROM documents WHERE key > ? ORDER BY key LIMIT ?"
        for key, metadata in self._pages(query, after_key):
            yield key, self._decoded(key, metadata)

    def _pages(self, query: str, after_key: int) -> Iterator[tuple[Any, ...]]:
        """Read in pages, so that neither the lock nor a snapshot is held while the caller works."""
        while page := self._rows(query, after_key, _BATCH):
            yield from page
            after_key = page[-1][0]

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            return connection.execute(query, parameters).fetchall()

    def _document(self, row: tuple[Any, ...]) -> Document:
        key, identity, content, metadata, checksum = row
        document = Document(identity, content, self._decoded(key, metadata))
        if self._durable and _checksum(identity, content, metadata) != checksum:
            raise StoreError(
                f"{self._name}: document {identity!r} fails its checksum; restore the folder or index anew"
            )
        return document

    def _decoded(self, key: int, metadata: str) -> dict[str, Any]:
        try:
            value: dict[str, Any] = decode_json(metadata)
        except ValueError as error:
            raise StoreError(
                f"{self._name}: the metadata of document {key} is damaged; restore the folder or index anew"
            ) from error
        return value

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the catalog; False where a reader is still in it."""
        with self._reading() as connection:
            connection.execute("PRAGMA busy_timeout=1000")  # readers stay in the log for milliseconds
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            connection.execute(f"PRAGMA busy_timeout={_PATIENCE_S * 1000}")
        return busy == 0


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_PATIENCE_S)


def _integers(connection: sqlite3.Connection, query: str, parameters: Any) -> NDArray[np.int64]:
    return np.fromiter((row[0] for row in connection.execute(query, parameters)), dtype=np.int64)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Tell SQLite's errors in words of our own."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        if "closed" in str(error):
            raise StoreError(f"{name} was closed; open the store again") from error
        cure = next((cure for prefix, cure in _CURES.items() if code.startswith(prefix)), "is the folder whole?")
        raise StoreError(f"{name}: {error}; {cure}") from error


_CURES: Mapping[str, str] = {
    "SQLITE_FULL": "nothing was changed: make room on the disk and try again",
    "SQLITE_IOERR": "nothing was changed: is the disk full or gone?",
    "SQLITE_BUSY": "another process is writing: try again when it is done",
    "SQLITE_READONLY": "nothing was changed: the folder cannot be written",
    "SQLITE_CANTOPEN": "want a folder that a store wrote, with its catalog.sqlite",
    "SQLITE_CORRUPT": "the catalog is damaged: restore the folder or index anew",
    "SQLITE_NOTADB": "the catalog is damaged: restore the folder or index anew",
}
