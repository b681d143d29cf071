"""An SQLite file that threads share and that survives a fork.

A forked child may neither use nor close its parent's connection, and a connection that it opens beside an inherited one
takes over the parent's locks, which the child does not hold. So connections are closed before a fork, when no thread
uses them, and each process opens its own at its next use. In the same way they are closed while a file is read
byte by byte: closing any handle of a file drops the locks that its process holds on it (sqlite.org/howtocorrupt.html).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

from reasonembed_rag.errors import StoreError
from reasonembed_rag.forks import make_immortal

__all__ = ["Database", "detached", "inode_of", "transaction"]

_Inode: TypeAlias = tuple[int, int]

_FORK_WAIT_S = 30.0
"""How long a fork waits for what another thread does in a database."""


class Database:
    """A connection to a file, for one thread at a time; the file is opened at the first use.

    With `held`, the connection is a lock: it stays open in the parent over a fork, and a child cannot open the file.
    """

    def __init__(
        self,
        path: Path | None,
        connect: Callable[[], sqlite3.Connection],
        *,
        name: str | None = None,
        held: bool = False,
    ) -> None:
        """Take the file, None for one in memory, the function that opens it, and a name for messages."""
        self._path = path
        self._name = name or str(path)
        self._connect = connect
        self._held = held
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._inode: _Inode | None = None
        self._closed = False
        self.opened = 0
        """How often the file was opened; PRAGMA data_version is comparable within one connection only."""
        _databases[id(self)] = weakref.ref(self, partial(_forget, id(self)))

    @property
    def is_open(self) -> bool:
        """Whether this process has a connection."""
        return self._connection is not None and (self._path is None or self._process == os.getpid())

    def connection(self) -> AbstractContextManager[sqlite3.Connection]:
        """Give the connection of this process to one thread at a time, for the length of a block.

        Raises sqlite3.ProgrammingError after close(), StoreError in a child whose parent had the file in use.
        """
        return _Use(self, self._lock)

    def current(self) -> sqlite3.Connection:
        """Return the connection, opened if needed, to a thread that has the lock."""
        if self._closed:
            raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
        if self._connection is None or not self.is_open:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        self._leave_to_parent()
        if self._path is not None and inode_of(self._path) in _left:
            raise StoreError(
                f"{self._name} was in use, before a fork, by the process that this one was forked from; save and close "
                "it before the fork, or start processes by spawn or forkserver"
            )
        connection = self._connect()
        self._process = os.getpid()
        self._inode = None if self._path is None else inode_of(self._path)
        self.opened += 1
        return connection

    def release(self) -> None:
        """Close the connection, which the next use opens again; in a forked child the parent's stays as it is."""
        with self._lock:
            self._leave_to_parent()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def close(self) -> None:
        """Close the connection for good."""
        with self._lock:
            self._closed = True
            self.release()

    def detach(self) -> bool:
        """Take the lock and close a file's connection, unless a transaction is open; return whether it was taken."""
        if not self._lock.acquire(timeout=_FORK_WAIT_S):
            return False
        if self._path is not None and not self._held and self._connection is not None:
            with suppress(sqlite3.Error):
                if not self._connection.in_transaction:
                    self.release()
        return True

    def attach(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def is_of(self, path: Path) -> bool:
        """Tell whether this is a connection to a file."""
        return self._inode is not None and self._inode == inode_of(path)

    def renew_after_fork(self) -> None:
        """Leave an open connection to the parent, and take a lock that is free."""
        self._lock = threading.RLock()
        self._leave_to_parent()

    def _leave_to_parent(self) -> None:
        """Never use nor close a connection that a fork has copied, not even when this process ends."""
        if self._path is not None and self._connection is not None and self._process != os.getpid():
            _left.add(self._inode)
            make_immortal(self._connection)
            self._connection = None


class _Use:
    """The block in which a thread has the connection; a generator would take several times as long."""

    __slots__ = ("_database", "_lock")

    def __init__(self, database: Database, lock: threading.RLock) -> None:
        self._database = database
        self._lock = lock  # that of before a fork in the block

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            return self._database.current()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_databases: dict[int, weakref.ref[Database]] = {}
_left: set[_Inode | None] = set()
"""The files whose connections this process inherited open: SQLite believes that it holds their locks."""
_detached: dict[int, list[Database]] = {}
"""By the thread that forks."""


def _forget(key: int, _: object) -> None:
    _databases.pop(key, None)


def _in_use() -> list[Database]:
    """Return the databases in one order, so that two threads that take several locks do not wait for each other."""
    found = [reference() for _, reference in sorted(_databases.copy().items())]
    return [database for database in found if database is not None]


def inode_of(path: Path) -> _Inode | None:
    """Return what tells a file from another at the same path; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def detached(path: Path) -> Iterator[None]:
    """Close this process's connections to a file for the length of a block that reads its bytes."""
    taken = [database for database in _in_use() if database.is_of(path) and database.detach()]
    try:
        yield
    finally:
        for database in taken:
            database.attach()


def _before_fork() -> None:
    _detached[threading.get_ident()] = [database for database in _in_use() if database.detach()]


def _in_parent() -> None:
    for database in _detached.pop(threading.get_ident(), []):
        database.attach()


def _in_child() -> None:
    _detached.clear()
    for database in _in_use():
        database.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
    """Commit what a block does in a database, or undo it where the block or the commit fails."""
    connection.execute(begin)
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:  # after a full disk SQLite has rolled back already
            connection.execute("ROLLBACK")
