"""What an index knows of its sources: sources.sqlite, the files that were read and the documents of each.

It is written around the store's commits so that a kill at any moment loses nothing: the ids of a file are recorded
before its documents are stored, and the file counts as read only after they are.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, Self

from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import transaction
from reasonembed_stores.sources import NamedSource, Source, name_as_text

__all__ = ["KnownDocument", "KnownFile", "RunSettings", "SourceState"]

_FILE = "sources.sqlite"
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE settings (value TEXT NOT NULL)",
    "CREATE TABLE sources (prefix TEXT PRIMARY KEY, root TEXT NOT NULL, selection TEXT NOT NULL)",
    """CREATE TABLE files (
        name TEXT PRIMARY KEY, prefix TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, content BLOB, recipe TEXT
    ) WITHOUT ROWID""",
    """CREATE TABLE documents (
        id TEXT PRIMARY KEY, file TEXT NOT NULL, row TEXT, content BLOB NOT NULL, metadata BLOB NOT NULL,
        stale INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID""",
    "CREATE INDEX documents_file ON documents (file)",
    "CREATE INDEX documents_content ON documents (content)",
    f"PRAGMA user_version = {_VERSION}",
)
_PUT_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_DOCUMENT = "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?)"
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The last complete run."""

    generation: int
    """The store's commit at its end; another one means that something else has written since."""
    listing: str
    """What was left out of the sources, as text."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file that was read, and what the file system said of it then."""

    name: str
    prefix: str
    kind: str
    size: int
    mtime_ns: int
    """-1 for a file that was so new that a later change might not show."""
    ctime_ns: int
    inode: int
    content: bytes | None
    """The hash of its bytes; None while its documents are being stored."""
    recipe: str | None
    """How it was read and split; None for a splitter whose settings are not known."""


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """A document of a file, with hashes of what is stored."""

    id: str
    file: str
    row: str | None
    """The id of the row that it is, or is a part of; None for a passage."""
    content: bytes
    metadata: bytes
    stale: bool = False
    """Whether the file no longer has it: a row stays until a run with sync."""


class SourceState:
    """The sources.sqlite of an index folder; a folder without one has an empty state."""

    def __init__(self, folder: Path) -> None:
        """Take an index folder, which need not exist; nothing is written before the first change."""
        self._path = folder / _FILE
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def exists(self) -> bool:
        """Whether a run over files was recorded here."""
        return self._path.is_file()

    def settings(self) -> RunSettings | None:
        """Return the settings of the last complete run."""
        rows = self._rows("SELECT value FROM settings")
        return RunSettings(**json.loads(rows[0][0])) if rows else None

    def sources(self) -> list[NamedSource]:
        """Return the sources that were read, in the order of their prefixes."""
        return [
            NamedSource(_source(root, selection), prefix)
            for prefix, root, selection in self._rows("SELECT * FROM sources ORDER BY prefix")
        ]

    def files(self) -> dict[str, KnownFile]:
        """Return the files that were read, by name."""
        return {row[0]: KnownFile(*row) for row in self._rows("SELECT * FROM files")}

    def count(self, files: Collection[str]) -> int:
        """Return the number of documents that some files have."""
        rows = self._rows("SELECT file, count(*) FROM documents WHERE NOT stale GROUP BY file")
        return sum(count for name, count in rows if name in files)

    def stale_rows(self) -> list[KnownDocument]:
        """Return the rows that stayed although their files no longer have them."""
        return self._documents("SELECT * FROM documents WHERE stale")

    def documents_of(self, files: Collection[str]) -> list[KnownDocument]:
        """Return the documents of some files."""
        query = "SELECT documents.* FROM json_each(?) JOIN documents ON file = json_each.value"
        return self._documents(query, json.dumps(list(files)))

    def owners(self, ids: Collection[str]) -> dict[str, str]:
        """Return the files that have documents with these ids."""
        query = (
            "SELECT documents.id, file FROM json_each(?) JOIN documents ON documents.id = json_each.value"
            " WHERE NOT stale"
        )
        return dict(self._rows(query, json.dumps(list(ids))))

    def alike(self, contents: Collection[bytes]) -> dict[bytes, str]:
        """Return for hashes of contents the id of a document that has one."""
        found: dict[bytes, str] = {}
        for content in contents:
            rows = self._rows("SELECT id FROM documents WHERE content = ? LIMIT 1", content)
            if rows:
                found[content] = rows[0][0]
        return found

    def all_documents(self) -> Iterator[KnownDocument]:
        """Yield every document of every file."""
        last = ""
        while page := self._documents("SELECT * FROM documents WHERE id > ? ORDER BY id LIMIT 5000", last):
            yield from page
            last = page[-1].id

    def begin(
        self, sources: Iterable[NamedSource], files: Iterable[KnownFile], documents: Iterable[KnownDocument]
    ) -> None:
        """Record what is about to be stored: the sources, and files with the documents that they have now.

        The files, and those that had the same ids before, do not count as read until `finish`.
        """
        with self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", map(_row_of_source, sources))
            pending = (astuple(replace(file, content=None)) for file in files)
            connection.executemany(_PUT_FILE, pending)
            for document in documents:
                connection.execute(
                    "UPDATE files SET content = NULL WHERE name = (SELECT file FROM documents WHERE id = ?)",
                    (document.id,),
                )
                connection.execute(_PUT_DOCUMENT, astuple(document))

    def finish(
        self,
        settings: RunSettings,
        *,
        read: Iterable[KnownFile] = (),
        stale: Iterable[str] = (),
        deleted: Iterable[str] = (),
        gone: Iterable[str] = (),
        sources: Iterable[NamedSource] = (),
    ) -> None:
        """Record a run after its last commit: files as read, stale rows, deleted documents, files that are gone.

        `sources` replace those that are remembered.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM settings")
            connection.execute("INSERT INTO settings VALUES (?)", (json.dumps(asdict(settings)),))
            connection.execute("DELETE FROM sources")
            connection.executemany("INSERT INTO sources VALUES (?, ?, ?)", map(_row_of_source, sources))
            connection.executemany(_PUT_FILE, map(astuple, read))
            connection.executemany("UPDATE documents SET stale = 1 WHERE id = ?", ((one,) for one in stale))
            connection.executemany("DELETE FROM documents WHERE id = ?", ((one,) for one in deleted))
            connection.executemany("DELETE FROM files WHERE name = ?", ((one,) for one in gone))

    def _documents(self, query: str, *parameters: object) -> list[KnownDocument]:
        return [
            KnownDocument(identity, file, row, content, metadata, bool(stale))
            for identity, file, row, content, metadata, stale in self._rows(query, *parameters)
        ]

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        if self._connection is None and not self.exists:
            return []
        with self._opened() as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection, opened and made if needed; raises StoreError for SQLite's errors."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path}: {error}; is the folder writable, and is there room on the disk? If the file is "
                "damaged, delete it: the next run compares every document with the index"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=_TIMEOUT_S)
        try:
            _make(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection


def _make(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables of a new file; raises StoreError for one of another version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in (0, _VERSION):
        raise StoreError(f"{path} has format {version}, this release reads {_VERSION}; upgrade")
    if version == 0:
        with transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)


def _row_of_source(named: NamedSource) -> tuple[str, str | bytes, str]:
    """Return a source as it is stored; a path that is not UTF-8 is stored as its bytes."""
    source = named.source
    selection = {"whole": source.whole, "files": source.files, "patterns": source.patterns}
    raw = os.fsencode(source.root)
    root = raw if name_as_text(str(source.root)) != str(source.root) else str(source.root)
    return named.prefix, root, json.dumps(selection)


def _source(root: str | bytes, selection: str) -> Source:
    chosen: Mapping[str, Any] = json.loads(selection)
    return Source(Path(os.fsdecode(root)), bool(chosen["whole"]), tuple(chosen["files"]), tuple(chosen["patterns"]))
