"""Chroma's clients: of this process, of the folder that is there now, and with errors of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from reasonembed_rag.errors import InputError, MissingDependencyError, StoreError
from reasonembed_rag.files import inode_of
from reasonembed_rag.forks import make_immortal, renew_in_child

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

__all__ = ["DATABASE", "check_process", "chroma_errors", "client_of"]

DATABASE = "chroma.sqlite3"


class _Clients:
    """The clients of this process; Chroma has one database object per folder, which they share."""

    def __init__(self) -> None:
        self.process: int | None = None
        self.inodes: dict[str, tuple[int, int] | None] = {}
        self._made: WeakSet[ClientAPI] = WeakSet()
        renew_in_child(self)

    def add(self, client: ClientAPI) -> ClientAPI:
        self.process = os.getpid()
        self._made.add(client)
        return client

    def renew_after_fork(self) -> None:
        """Never finalize a client in a child: it would wait for threads that only the parent has."""
        for client in self._made:
            make_immortal(client)


_clients = _Clients()


def check_process(owner: int | None) -> None:
    """Raise StoreError in a process that was forked from the owner of a client."""
    if owner not in {None, os.getpid()}:
        raise StoreError(
            "Chroma was opened before a fork, and cannot be used in the forked process; start processes by spawn or "
            "forkserver, or open it after the fork only"
        )


def client_of(where: str | Path | ClientAPI | None) -> ClientAPI:
    """Return a client of a folder, of memory (None), or the one that is given."""
    try:
        import chromadb
    except ImportError as error:
        raise MissingDependencyError("chromadb", "chroma") from error
    if where is not None and not isinstance(where, str | Path):
        return where
    check_process(_clients.process)
    # Chroma refuses a second client with other settings for the same folder in a process, so ours has the defaults;
    # product telemetry does nothing in these versions.
    if where is None:
        return _clients.add(chromadb.EphemeralClient())
    name, database = str(where), Path(where) / DATABASE
    if _clients.inodes.get(name) != inode_of(database):
        _forget(name)
    with chroma_errors(name):
        client = _clients.add(chromadb.PersistentClient(where))
    _clients.inodes[name] = inode_of(database)
    return client


def _forget(folder: str) -> None:
    """Let Chroma open a folder anew: it keeps the files of an earlier one, by the path alone."""
    from chromadb.api.shared_system_client import SharedSystemClient

    getattr(SharedSystemClient, "_identifier_to_system", {}).pop(folder, None)


@contextmanager
def chroma_errors(name: str) -> Iterator[None]:
    """Translate Chroma's errors to StoreError."""
    from chromadb.errors import ChromaError
    from httpx import HTTPError

    try:
        yield
    except HTTPError as error:
        raise StoreError(f"{name}: Chroma's server cannot be reached ({error}); is it running?") from error
    except (ChromaError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise StoreError(f"{name}: {error}") from error
