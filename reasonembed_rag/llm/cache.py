"""A write-ahead cache of chat model answers in one SQLite file."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import Database
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.settings import TokenUsage

__all__ = ["CachedReply", "ResponseCache"]

_FORMAT = "1"
_TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, stage TEXT NOT NULL, model TEXT NOT NULL,
    text TEXT, truncated INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, failure TEXT
);
"""
_PAGES_BETWEEN_CHECKPOINTS = 8000


@dataclass(frozen=True, slots=True)
class CachedReply:
    """An answer, or the permanent failure of its call."""

    answer: Answer | None
    failure: str | None = None


class ResponseCache:
    """Replies by key, each written to the operating system before `add` returns; open in one process at a time.

    A killed process loses nothing that was added; a power failure may lose the last seconds, never anything older. No
    answer is held in memory. Threads may share a cache; a child that is forked while it is open is refused.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._path = path
        self._database = Database(path, lambda: connection, held=True)
        with self._database.connection():
            pass  # from now on a forked child cannot use or close it

    @classmethod
    def open(cls, path: Path, *, corpus: str | None = None) -> Self:
        """Open a cache, or create one with its parent directories.

        A cache that holds answers and was made for another `corpus` (any digest of the data that prompts were built
        from) is refused; None opens every cache. Raises StoreError for that, for a file that is not a cache, one that
        another process has open, and a disk that cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.0)
        except (sqlite3.Error, OSError) as error:
            raise _store_error(error, path) from error
        try:
            _prepare(connection)
            _check_format(connection, path)
            if corpus is not None:
                _check_corpus(connection, path, corpus)
        except sqlite3.Error as error:
            connection.close()
            raise _store_error(error, path) from error
        except StoreError:
            connection.close()
            raise
        return cls(connection, path)

    def get(self, key: bytes) -> CachedReply | None:
        """Return the reply of a key, None if there is none."""
        with self._database.connection() as connection:
            row = connection.execute(
                "SELECT text, truncated, input_tokens, output_tokens, failure FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        text, truncated, input_tokens, output_tokens, failure = row
        return CachedReply(
            None if text is None else Answer(text, bool(truncated), input_tokens, output_tokens), failure
        )

    def add(self, key: bytes, reply: CachedReply, *, stage: str, model: str) -> None:
        """Store a reply; it replaces a failure, never an answer. Raises StoreError where it cannot be written."""
        answer = reply.answer or Answer("", input_tokens=0, output_tokens=0)
        text = None if reply.answer is None else answer.text
        row = (key, stage, model, text, answer.truncated, answer.input_tokens or 0, answer.output_tokens or 0)
        try:
            with self._database.connection() as connection:
                connection.execute(
                    "INSERT INTO answers (key, stage, model, text, truncated, input_tokens, output_tokens, failure)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET text = excluded.text,"
                    " truncated = excluded.truncated, input_tokens = excluded.input_tokens,"
                    " output_tokens = excluded.output_tokens, failure = excluded.failure WHERE text IS NULL",
                    (*row, reply.failure),
                )
        except sqlite3.Error as error:
            raise _store_error(error, self._path) from error

    def usage(self, *, stage: str, model: str) -> TokenUsage:
        """Return the number and tokens of a model's answers to a stage."""
        with self._database.connection() as connection:
            calls, input_tokens, output_tokens = connection.execute(
                "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM answers"
                " WHERE stage = ? AND model = ? AND text IS NOT NULL",
                (stage, model),
            ).fetchone()
        return TokenUsage(calls=calls, input_tokens=input_tokens, output_tokens=output_tokens)

    def __len__(self) -> int:
        with self._database.connection() as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # before WAL, so that no shared memory file is needed
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_BETWEEN_CHECKPOINTS}")
    connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    found = _property(connection, "format")
    if found is None:
        connection.execute("INSERT INTO about VALUES ('format', ?)", (_FORMAT,))
    elif found != _FORMAT:
        raise StoreError(
            f"{path}: has format {found}, this version reads {_FORMAT}; "
            "use the version that wrote it, or another response cache"
        )


def _check_corpus(connection: sqlite3.Connection, path: Path, corpus: str) -> None:
    found = _property(connection, "corpus")
    if found not in {None, corpus} and connection.execute("SELECT count(*) FROM answers").fetchone() != (0,):
        raise StoreError(
            f"{path}: belongs to another corpus (digest {found}, now {corpus}); "
            "use another response cache, or restore the corpus"
        )
    connection.execute("INSERT OR REPLACE INTO about VALUES ('corpus', ?)", (corpus,))


def _property(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _store_error(error: Exception, path: Path) -> StoreError:
    """Translate an error of SQLite or of the system to ours, with its cure."""
    message = str(error)
    if "locked" in message:
        return StoreError(f"{path}: another process has this response cache open; stop it or wait for its end")
    if "full" in message:
        return StoreError(f"{path}: the disk is full; free some space and run again, stored answers are kept")
    if "not a database" in message or "malformed" in message:
        return StoreError(f"{path}: not a response cache ({message}); move it away or use another path")
    return StoreError(
        f"{path}: cannot be written ({message}); check its permissions and the free space, then run again: stored "
        "answers are kept"
    )
