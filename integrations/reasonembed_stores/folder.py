"""The folder of a store: its manifest, its files with their checksums, and the writer lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import StoreError
from reasonembed_rag.files import Database, detached, replacing, temporary_folder

__all__ = ["Manifest", "StoreFolder", "WriterLock", "check_free", "new_folder"]

_FORMAT = "reasonembed-store"
_VERSION = 2
_MANIFEST = "manifest.json"
_CATALOG = "catalog.sqlite"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json says about a store."""

    generation: int
    """The last commit when the manifest was written; a catalog that is older has lost its write-ahead log."""
    files: Mapping[str, str]
    """The SHA-256 of the ANN index, and of the catalog while no writer is at work."""
    about: Mapping[str, Any]
    """dtype, dimension, documents and spec, for people; the catalog is what counts."""
    version: int = _VERSION

    @property
    def is_sealed(self) -> bool:
        """Whether the catalog's checksum holds: a writer removes it first, save() and close() write it."""
        return _CATALOG in self.files


class StoreFolder:
    """The files of one store."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()  # a program may change its working folder
        self.catalog = self.path / _CATALOG
        self.lock = WriterLock(self.path / "writer.lock")

    def vectors(self, layout: int, dtype: str) -> Path:
        """Return the path of the vectors of a layout."""
        return self.path / f"vectors-{layout:06}.{'f32' if dtype == 'float32' else 'f16'}"

    def ann(self, layout: int, covered: int) -> Path:
        """Return the path of the ANN index of the first `covered` vectors of a layout."""
        return self.path / f"index-{layout:06}-{covered}.faiss"

    def read_manifest(self) -> Manifest:
        """Read the manifest; raises StoreError if it is missing, damaged, foreign or of a later version."""
        path = self.path / _MANIFEST
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            found = "is not a store" if self.path.exists() else "does not exist"
            raise StoreError(f"{self.path} {found}; want a folder that a store saved, with its manifest.json") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}); restore the folder or index again") from error
        if not isinstance(fields, dict) or fields.pop("format", None) != _FORMAT:
            raise StoreError(f"{path} is not the manifest of a reasonembed store; want a folder that a store saved")
        version = fields.pop("version", None)
        if version not in (1, _VERSION):
            raise StoreError(
                f"{path} has format version {version!r}; this release reads 1 and {_VERSION}: upgrade, or index again"
            )
        try:
            files = _files_of_version_1(fields) if version == 1 else dict(fields.pop("files"))
            return Manifest(fields.pop("generation"), files, fields, version)
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(f"{path} is damaged ({error}); restore the folder or index again") from error

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest; raises StoreError if the disk refuses."""
        fields = {"format": _FORMAT, "version": _VERSION, "generation": manifest.generation}
        fields |= {**manifest.about, "files": manifest.files}
        try:
            with replacing(self.path / _MANIFEST) as file:
                file.write((json.dumps(fields, ensure_ascii=False, indent=2) + "\n").encode())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written ({error.strerror}); make room or give access") from error

    def checksum(self, name: str) -> str:
        """Return the SHA-256 of a file."""
        path = self.path / name
        with detached(path), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def verify(self, manifest: Manifest) -> None:
        """Compare the files with the manifest; raises StoreError for the first one that is missing or differs."""
        for name, checksum in manifest.files.items():
            found = self._found(name)
            if found == checksum:
                continue
            if self.read_manifest() != manifest:
                return  # a writer started in the meantime, and wrote the manifest before it changed a file
            problem = "is missing" if found is None else "does not match its checksum"
            raise StoreError(f"{self.path / name} {problem}; restore the folder or index again")

    def _found(self, name: str) -> str | None:
        try:
            return self.checksum(name)
        except FileNotFoundError:
            return None

    def remove_stale(self, keep: Sequence[Path]) -> None:
        """Remove vectors and ANN indexes of earlier layouts, and temporary files of killed processes."""
        for pattern in ("vectors-*", "index-*", ".*.tmp"):
            for path in set(self.path.glob(pattern)) - set(keep):
                with contextlib.suppress(OSError):  # on some systems a reader may still hold it
                    path.unlink()


def _files_of_version_1(fields: dict[str, Any]) -> dict[str, str]:
    """Return the checksums in a manifest of version 1; those of vectors are in the catalog too."""
    files = [*fields.pop("files"), *filter(None, [fields.pop("index")])]
    return {file["name"]: file["sha256"] for file in files if not file["name"].startswith("vectors-")}


class WriterLock:
    """A lock for one store object of one process; the operating system releases it when the process dies.

    It is SQLite's lock on an empty file, which works on every system, between processes and within one.
    """

    __slots__ = ("_database", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = Database(path, self._connect, name=str(path.parent), held=True)

    @property
    def held(self) -> bool:
        """Whether this object holds the lock in this process."""
        return self._database.is_open

    def acquire(self) -> None:
        """Take the lock without waiting; raises StoreError if another store object, or a parent process, holds it."""
        try:
            with self._database.connection():
                pass
        except sqlite3.OperationalError as error:
            problem, cure = f"cannot be written ({error})", "is the folder or disk writable?"
            if "locked" in str(error):
                problem = "is being written by another process or store object"
                cure = "save() or close() that one, or wait for it, and try again"
            raise StoreError(f"{self._path.parent} {problem}; {cure}") from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0.0)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            connection.close()
            raise
        return connection

    def release(self) -> None:
        """Release the lock if it is held."""
        self._database.release()


def check_free(path: Path) -> None:
    """Raise StoreError if a path exists, unless it is an empty folder."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        cure = "open it, or choose another path" if (path / _MANIFEST).exists() else "choose another path"
        raise StoreError(f"{path} exists already; {cure}")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` if the block succeeds and is removed if it fails.

    Raises StoreError if `path` exists, unless it is an empty folder.
    """
    check_free(path)
    try:
        with temporary_folder(path) as aside:
            yield aside
            aside.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be created ({error.strerror}); make room, give access or choose another path"
        ) from error
