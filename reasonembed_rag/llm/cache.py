"""The journal: every answer that was paid for, kept before it is used."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.config import Spent

__all__ = ["Entry", "Journal"]

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
class Entry:
    """What a call came to: an answer, or why it will never have one."""

    answer: Answer | None
    failure: str | None = None


class Journal:
    """Entries by key in one SQLite file, each on its way to disk before `add` returns; one process at a time.

    A killed process loses nothing that was added; a power cut may take the last seconds, never what came before. No
    answer is held in memory.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, corpus: str) -> Self:
        """Open a journal, or make one, for a corpus by its digest.

        One without answers goes over to another corpus. Raises TrainingError for the journal of another corpus, a file
        that is none, one that another process writes, and a disk that cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.0)
        except (sqlite3.Error, OSError) as error:
            raise _told(error, path) from error
        try:
            _prepare(connection)
            _check(connection, path, {"format": _FORMAT, "corpus": corpus})
        except sqlite3.Error as error:
            connection.close()
            raise _told(error, path) from error
        except TrainingError:
            connection.close()
            raise
        return cls(connection, path)

    def get(self, key: bytes) -> Entry | None:
        """Return the entry of a key, None where there is none."""
        with self._lock:
            row = self._connection.execute(
                "SELECT text, truncated, input_tokens, output_tokens, failure FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        text, truncated, input_tokens, output_tokens, failure = row
        return Entry(None if text is None else Answer(text, bool(truncated), input_tokens, output_tokens), failure)

    def add(self, key: bytes, entry: Entry, *, stage: str, model: str) -> None:
        """Keep an entry; an answer that is there already stays, a failure gives way.

        Raises TrainingError where it cannot be written.
        """
        answer = entry.answer or Answer("", input_tokens=0, output_tokens=0)
        text = None if entry.answer is None else answer.text
        row = (key, stage, model, text, answer.truncated, answer.input_tokens or 0, answer.output_tokens or 0)
        try:
            with self._lock:
                self._connection.execute(
                    "INSERT INTO answers (key, stage, model, text, truncated, input_tokens, output_tokens, failure)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET text = excluded.text,"
                    " truncated = excluded.truncated, input_tokens = excluded.input_tokens,"
                    " output_tokens = excluded.output_tokens, failure = excluded.failure WHERE text IS NULL",
                    (*row, entry.failure),
                )
        except sqlite3.Error as error:
            raise _told(error, self._path) from error

    def spent(self, *, stage: str, model: str) -> Spent:
        """Return how many answers of a model a stage has, and their tokens."""
        with self._lock:
            calls, input_tokens, output_tokens = self._connection.execute(
                "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM answers"
                " WHERE stage = ? AND model = ? AND text IS NOT NULL",
                (stage, model),
            ).fetchone()
        return Spent(calls=calls, input_tokens=input_tokens, output_tokens=output_tokens)

    def __len__(self) -> int:
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

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


def _check(connection: sqlite3.Connection, path: Path, wanted: dict[str, str]) -> None:
    found = dict(connection.execute("SELECT name, value FROM about").fetchall())
    if not found:
        connection.executemany("INSERT INTO about VALUES (?, ?)", wanted.items())
        return
    if found.get("format") != wanted["format"]:
        raise TrainingError(
            f"{path}: written in format {found.get('format')}, this version reads {wanted['format']}; "
            "go on with the version that wrote it, or run into another folder"
        )
    if found.get("corpus") != wanted["corpus"]:
        if connection.execute("SELECT count(*) FROM answers").fetchone() == (0,):  # nothing is lost
            connection.execute("UPDATE about SET value = ? WHERE name = 'corpus'", (wanted["corpus"],))
            return
        raise TrainingError(
            f"{path}: belongs to another corpus (digest {found.get('corpus')}, now {wanted['corpus']}); "
            "run into another folder, or put the corpus back as it was"
        )


def _told(error: Exception, path: Path) -> TrainingError:
    """Return a SQLite or system error as one of ours, with its cure."""
    said = str(error)
    if "locked" in said:
        return TrainingError(f"{path}: another run is at work in this folder; wait for its end or stop it")
    if "full" in said:
        return TrainingError(
            f"{path}: the disk is full; free some space and run the same command again, no answer is paid for twice"
        )
    if "not a database" in said or "malformed" in said:
        return TrainingError(f"{path}: is no journal ({said}); move it away or run into another folder")
    return TrainingError(
        f"{path}: cannot be written ({said}); check your rights to it and the space left, then run the same command "
        "again: what it holds is kept"
    )
