"""The SQLite file of a catalog: opening it, and opening it again, and its errors as StoreError."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import inode_of

__all__ = ["TIMEOUT_S", "CatalogFile", "connect", "store_error", "translated_errors"]

TIMEOUT_S = 30


class CatalogFile:
    """Open a catalog, and open it again only while it is the same file: a folder may be replaced by another."""

    def __init__(self, path: Path, *, immutable: bool = False) -> None:
        """Take the path; `immutable` is for a folder that nobody can write to."""
        self._path = path
        self._uri = f"{path.absolute().as_uri()}?{'immutable=1' if immutable else 'mode=rw'}"
        self._inode: tuple[int, int] | None = None
        self._number: int | None = None

    def __call__(self) -> sqlite3.Connection:
        """Return a new connection; raises StoreError where the file is another one than at the first call."""
        inode = inode_of(self._path)
        connection = connect(self._uri)
        try:
            (number,) = connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        first = self._number is None
        if inode != inode_of(self._path) or not (first or (inode, number) == (self._inode, self._number)):
            connection.close()
            self._inode = None
            raise StoreError(f"{self._path.parent} was replaced since it was opened; open it again")
        self._inode, self._number = inode, number
        return connection

    def is_in_place(self) -> bool:
        """Tell whether the file is still at its path, and no other."""
        return self._inode is not None and self._inode == inode_of(self._path)


def connect(uri: str) -> sqlite3.Connection:
    """Open a database that threads share, whose commits are flushed to disk."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=TIMEOUT_S)
    try:
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def translated_errors(name: str) -> Iterator[None]:
    """Translate SQLite's errors to StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(name, error) from error


def store_error(name: str, error: sqlite3.Error) -> StoreError:
    """Return an error of SQLite as a StoreError, with its cure."""
    code = getattr(error, "sqlite_errorname", "")
    if "closed" in str(error):
        return StoreError(f"{name} was closed; open the store again")
    cure = next((cure for prefix, cure in _CURES.items() if code.startswith(prefix)), _REFUSED)
    return StoreError(f"{name}: {error}; {cure}")


_REFUSED = "nothing was changed: is the folder complete and writable, and is there room on the disk?"
_DAMAGED = "the catalog is damaged: restore the folder or index again"
_CURES: Mapping[str, str] = {
    "SQLITE_BUSY": "another process is writing: try again when it is done",
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
}
