"""The documents of a store, in SQLite: its transaction is what commits a change."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import Database, transaction
from reasonembed_stores.batch import Batch, decode_json
from reasonembed_stores.catalog_file import TIMEOUT_S, CatalogFile, connect, store_error, translated_errors
from reasonembed_stores.iteration import in_pages

__all__ = ["Catalog", "Change", "Extent", "Snapshot", "State"]

_SCHEMA = """
CREATE TABLE state (
    generation INTEGER NOT NULL, layout INTEGER NOT NULL, next_key INTEGER NOT NULL, dimension INTEGER,
    codes TEXT NOT NULL, index_kind TEXT NOT NULL, spec TEXT
);
CREATE TABLE documents (key INTEGER PRIMARY KEY, id TEXT NOT NULL, content TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE UNIQUE INDEX documents_id ON documents (id);
CREATE TABLE tombstones (key INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
CREATE TABLE extents (start INTEGER PRIMARY KEY, count INTEGER NOT NULL, sha256 BLOB NOT NULL);
"""
"""codes is the dtype and index_kind the ann of State. Format 1 had a fifth column of documents, for checksums."""
_UPDATE = """
UPDATE state SET (generation, layout, next_key, dimension, codes, index_kind, spec) = (?, ?, ?, ?, ?, ?, ?)
"""
_INSERT = "INSERT INTO documents VALUES (?, ?, ?, ?)"
_INSERT_FORMAT_1 = "INSERT INTO documents VALUES (?, ?, ?, ?, 0)"
_PAGE = 2000
_MANY = 1000


@dataclass(frozen=True, slots=True)
class State:
    """What a store is, and its last commit."""

    generation: int
    """The number of commits."""
    layout: int
    """How often the vectors were rewritten; positions are comparable within one layout only."""
    next_key: int
    """The key of the next document; keys increase and are never reused."""
    dimension: int | None
    dtype: str
    ann: str
    spec: str | None


@dataclass(frozen=True, slots=True)
class Extent:
    """Consecutive vectors that were written at once, with the SHA-256 of their bytes."""

    start: int
    count: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What one commit writes."""

    state: State
    """The state after the commit."""
    dead: Sequence[int] = ()
    """The keys of documents that are deleted or replaced."""
    born: Batch = field(default_factory=Batch)
    """The new documents; the last of their consecutive keys is just below the state's next one."""
    extents: Sequence[Extent] = ()
    rewritten: bool = False
    """Whether the extents replace all earlier ones; no position of a dead document is left then."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A committed state, with what was added and deleted since an earlier one."""

    state: State
    keys: NDArray[np.int64]
    """New keys in the order of their positions, those of documents deleted again included."""
    dead: NDArray[np.int64]
    extents: Sequence[Extent]
    """All extents."""


class Catalog:
    """A connection to the documents, shared by threads."""

    def __init__(self, path: Path | None, file: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._name = "the store in memory" if path is None else str(path)
        self._file = file
        self._database = Database(path, file)
        self._insert_sql = _INSERT

    @classmethod
    def create(cls, path: Path | None, state: State) -> Self:
        """Create an empty catalog, in memory without a path."""
        uri = "file::memory:" if path is None else f"{path.absolute().as_uri()}?mode=rwc"
        catalog = cls(path, partial(connect, uri))
        with catalog.exclusively() as connection:
            # Documents are long: pages larger than SQLite's default are written faster.
            connection.execute(f"PRAGMA page_size={65536 if path is None else 16384}")
            if path is not None:
                # With write-ahead logging, readers continue while a writer commits, and a kill loses nothing.
                connection.execute("PRAGMA journal_mode=WAL")
                # By it and the inode, who opens the file again finds whether another has taken its place.
                connection.execute(f"PRAGMA user_version={secrets.randbits(31)}")
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(state))
        return catalog

    @classmethod
    def open(cls, path: Path, *, immutable: bool = False) -> Self:
        """Open a catalog; `immutable` is for a folder that nobody can write to."""
        catalog = cls(path, CatalogFile(path, immutable=immutable))
        columns = catalog._rows("PRAGMA table_info(documents)")
        if any(name == "checksum" for _, name, *_ in columns):
            catalog._insert_sql = _INSERT_FORMAT_1
        return catalog

    def is_in_place(self) -> bool:
        """Tell whether the file is still at its path, and no other; one in memory always is."""
        return not isinstance(self._file, CatalogFile) or self._file.is_in_place()

    def close(self) -> None:
        """Close the connection; committed changes stay."""
        with translated_errors(self._name):
            self._database.close()

    @contextmanager
    def exclusively(self) -> Iterator[sqlite3.Connection]:
        """Let no other thread use the catalog, and no fork happen, during the block."""
        with translated_errors(self._name), self._database.connection() as connection:
            yield connection

    def version(self) -> tuple[int, int]:
        """Return what changes when another connection has committed, or when the file was opened again."""
        ((version,),) = self._rows("PRAGMA data_version")
        return self._database.opened, version

    def state(self) -> State:
        """Return the committed state."""
        return State(*self._rows("SELECT * FROM state")[0])

    def count(self) -> int:
        """Return the number of documents."""
        return int(self._rows("SELECT count(*) FROM documents")[0][0])

    def snapshot(self, since: State) -> Snapshot:
        """Return the committed state with what came after another; everything if the layout is not the same."""
        with self.exclusively() as connection, transaction(connection, "BEGIN"):
            state = self.state()
            key, generation = (since.next_key, since.generation) if since.layout == state.layout else (0, -1)
            query = "SELECT key FROM documents WHERE key >= ? UNION ALL SELECT key FROM tombstones WHERE key >= ?"
            keys = np.sort(self._integers(query, key, key))
            dead = self._integers("SELECT key FROM tombstones WHERE generation > ?", generation)
            extents = [Extent(*row) for row in self._rows("SELECT * FROM extents ORDER BY start")]
        return Snapshot(state, keys, dead, extents)

    def commit(self, change: Change) -> None:
        """Make a change, all of it or nothing."""
        with self.exclusively() as connection, transaction(connection):
            connection.execute(_UPDATE, astuple(change.state))
            if change.rewritten:
                connection.execute("DELETE FROM tombstones")
                connection.execute("DELETE FROM extents")
            if change.dead:
                dead = json.dumps([int(key) for key in change.dead])
                connection.execute("DELETE FROM documents WHERE key IN (SELECT value FROM json_each(?))", (dead,))
                if not change.rewritten:
                    insert = "INSERT INTO tombstones SELECT value, ? FROM json_each(?)"
                    connection.execute(insert, (change.state.generation, dead))
            self._insert(connection, change.born, change.state.next_key)
            connection.executemany("INSERT INTO extents VALUES (?, ?, ?)", map(astuple, change.extents))

    def _insert(self, connection: sqlite3.Connection, born: Batch, next_key: int) -> None:
        # For a large first batch, building the index over ids once is faster than updating it entry by entry.
        defer = len(born) >= _MANY and not connection.execute("SELECT 1 FROM documents LIMIT 1").fetchone()
        if defer:
            connection.execute("DROP INDEX documents_id")
        keys = range(next_key - len(born), next_key)
        try:
            connection.executemany(self._insert_sql, zip(keys, born.ids, born.contents, born.metadatas, strict=True))
        except UnicodeEncodeError:
            born.check_unicode()
            raise
        if defer:
            connection.execute("CREATE UNIQUE INDEX documents_id ON documents (id)")

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the keys of the documents with these ids; unknown ids are left out."""
        query = "SELECT documents.id, documents.key FROM json_each(?) JOIN documents ON documents.id = json_each.value"
        return dict(self._rows(query, json.dumps(ids)))

    def ids_of(self, keys: Sequence[int]) -> dict[int, str]:
        """Return the ids of the documents with these keys; keys of deleted ones are left out."""
        query = "SELECT documents.key, documents.id FROM json_each(?) JOIN documents ON documents.key = json_each.value"
        return dict(self._rows(query, json.dumps(keys)))

    def documents_of(self, keys: Sequence[int]) -> dict[int, Document]:
        """Return the documents with these keys; keys of deleted ones are left out."""
        query = (
            "SELECT documents.key, documents.id, content, metadata FROM json_each(?)"
            " JOIN documents ON documents.key = json_each.value"
        )
        return {row[0]: self._document(*row) for row in self._rows(query, json.dumps(keys))}

    def get(self, ids: Sequence[str]) -> list[Document]:
        """Return the documents of these ids, in their order; unknown ids are left out."""
        keys = self.keys_of(ids)
        documents = self.documents_of(list(keys.values()))
        return [documents[keys[identity]] for identity in ids if keys.get(identity) in documents]

    def documents(self, among: Sequence[str] | None = None) -> Iterator[Document]:
        """Yield every document, or those with ids among some, in the order of keys, as they are at the first one.

        Another connection reads them in one transaction, whatever is written meanwhile. A catalog in memory has no
        other connection: there each that is not deleted meanwhile comes once, as it is when it comes.
        """
        chosen = "" if among is None else " WHERE id IN (SELECT value FROM json_each(?))"
        parameters = () if among is None else (json.dumps(among),)
        if self._path is None:
            rows = self._rows(f"SELECT id FROM documents{chosen} ORDER BY key", *parameters)  # noqa: S608 - two constants
            yield from in_pages([identity for (identity,) in rows], self.get)
            return
        self.version()  # raises StoreError for a closed catalog
        reader = Database(self._path, self._file)
        query = f"SELECT key, id, content, metadata FROM documents{chosen} ORDER BY key"  # noqa: S608 - two constants
        with translated_errors(self._name):
            try:
                with reader.connection() as connection:
                    connection.execute("BEGIN")  # a fork leaves it to the parent
                for row in connection.execute(query, parameters):
                    yield self._document(*row)
            finally:
                reader.close()

    def metadata(self, after_key: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Yield (key, metadata) of the documents after a key."""
        query = "SELECT key, metadata FROM documents WHERE key > ? ORDER BY key LIMIT ?"
        for key, metadata in self._pages(query, after_key):
            yield key, self._decoded(key, metadata)

    def _pages(self, query: str, after_key: int = -1) -> Iterator[tuple[Any, ...]]:
        """Read page by page, so that neither the lock nor a snapshot is held while the caller works."""
        while page := self._rows(query, after_key, _PAGE):
            yield from page
            after_key = page[-1][0]

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        try:  # the quickest way: every search comes here several times
            with self._database.connection() as connection:
                return connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise store_error(self._name, error) from error

    def _integers(self, query: str, *parameters: object) -> NDArray[np.int64]:
        with self.exclusively() as connection:
            return np.fromiter((row[0] for row in connection.execute(query, parameters)), dtype=np.int64)

    def _document(self, key: int, identity: str, content: str, metadata: str) -> Document:
        return Document(identity, content, self._decoded(key, metadata))

    def _decoded(self, key: int, metadata: str) -> dict[str, Any]:
        try:
            value: dict[str, Any] = decode_json(metadata)
        except ValueError as error:
            raise StoreError(
                f"{self._name}: the metadata of document {key} is damaged; restore the folder or index again"
            ) from error
        return value

    def verify(self) -> None:
        """Let SQLite check the structure of every page; raises StoreError for a damaged one."""
        problem = self._rows("PRAGMA quick_check(1)")[0][0]
        if problem != "ok":
            raise StoreError(f"{self._name} is damaged ({problem}); restore the folder or index again")

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the catalog; False if a reader still uses the log."""
        with self.exclusively() as connection:
            connection.execute("PRAGMA busy_timeout=1000")  # readers use the log for milliseconds
            busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            connection.execute(f"PRAGMA busy_timeout={TIMEOUT_S * 1000}")
        return busy == 0
