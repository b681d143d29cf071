"""The SQLite file of a vector cache: opening it, and its errors as StoreError."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import transaction

__all__ = ["cache_error", "open_cache_file"]

_APPLICATION = 0x52454D42  # "REMB"
_VERSION = 1
_BUSY_S = 30.0
"""How long a writer waits for the lock."""
_LOG_BYTES = 4 << 20
"""Bytes that the write-ahead log keeps once it was written back."""

_SCHEMA = (
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, used INTEGER NOT NULL, checksum INTEGER NOT NULL)""",
    "CREATE INDEX entries_used ON entries (used)",
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)


def open_cache_file(path: Path) -> sqlite3.Connection:
    """Open a cache, or create one; raises StoreError for another program's file and another format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        made = _is_ours(connection, path)  # checked before anything is written
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        if not made:
            _make(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection, path: Path) -> None:
    with transaction(connection):
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


def cache_error(path: Path, error: Exception) -> StoreError:
    """Return an error of SQLite or of the system as a StoreError, with its cure."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return StoreError(f"{path}: damaged or not a cache ({error}); delete it: its vectors will be computed again")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(f"{path}: locked by another process for {_BUSY_S:.0f} s; stop that process")
    return StoreError(f"{path}: cannot be used ({error}); want a writable folder on a local disk with free space")
