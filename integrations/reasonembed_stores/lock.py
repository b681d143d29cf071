"""The lock that lets one store object at a time write to a folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from reasonembed_rag.errors import StoreError

__all__ = ["WriterLock"]


class WriterLock:
    """Held by one store object of one process; the operating system takes it back when the process dies.

    SQLite's lock on an empty file is used because it works alike on every system, between processes and within one.
    """

    __slots__ = ("_connection", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._connection is not None

    def acquire(self) -> None:
        """Take the lock at once; raises StoreError where another store object has it."""
        if self._connection is not None:
            return
        connection = None
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0.0)
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if connection is not None:
                connection.close()
            if "locked" in str(error):
                raise StoreError(
                    f"{self._path.parent} is being written by another process or store object; "
                    "save() or close() that one, or wait for it, and try again"
                ) from error
            raise StoreError(
                f"{self._path.parent} cannot be written ({error}); is the folder or disk writable?"
            ) from error
        self._connection = connection

    def release(self) -> None:
        """Give the lock back; nothing happens where it is not held."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
