"""The bytes of a file, unpacked where its name ends in .gz, .bz2 or .xz."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["PACKED_SUFFIXES", "inner_name", "open_bytes", "read_bytes", "unreadable_file"]

PACKED_SUFFIXES = (".gz", ".bz2", ".xz")

_ALWAYS_UNPACKED = 64 << 20
_LARGEST_RATIO = 200
"""Text packs to a tenth, logs to a fiftieth of their size; what unpacks to more is made to fill a disk or memory."""
_LARGEST_IN_MEMORY = 512 << 20


def inner_name(path: Path) -> str:
    """Return the name of a file in lower case, without the suffix of a packed one."""
    name = path.name.lower()
    for suffix in PACKED_SUFFIXES:
        if name.endswith(suffix) and name != suffix:
            return name.removesuffix(suffix)
    return name


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading its bytes, unpacked.

    Raises InputError, then or while it is read, for a file that cannot be opened, is no plain file, is damaged or
    unpacks to more than is safe.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():  # opening a pipe would wait for a writer
            raise InputError(f"{path}: is no plain file; want one that can be read more than once")
        file = _opened(path)
    except OSError as error:
        raise unreadable_file(path, error) from error
    packed = path.name.lower() != inner_name(path)
    if packed and not size:
        file.close()
        raise InputError(f"{path}: cannot be unpacked (it is empty); want a complete file: fetch or pack it again")
    return cast("BinaryIO", io.BufferedReader(_Content(path, file, most=_most_unpacked(size) if packed else None)))


def read_bytes(path: Path) -> bytes:
    """Return all bytes of a file, unpacked; raises InputError as open_bytes does, and for a file over 512 MiB."""
    with open_bytes(path) as file:
        large = path.stat().st_size > _LARGEST_IN_MEMORY
        data = b"" if large else file.read(_LARGEST_IN_MEMORY + 1)
    if large or len(data) > _LARGEST_IN_MEMORY:
        raise InputError(
            f"{path}: has more than {_LARGEST_IN_MEMORY >> 20} MiB, which is too much for one text; split it, "
            "or make it JSON Lines, CSV or Parquet, which are read row by row"
        )
    return data


def _opened(path: Path) -> BinaryIO:
    match path.suffix.lower():
        case ".gz":
            return cast("BinaryIO", gzip.GzipFile(path, "rb"))
        case ".bz2":
            return cast("BinaryIO", bz2.BZ2File(path, "rb"))
        case ".xz":
            return cast("BinaryIO", lzma.LZMAFile(path, "rb"))
        case _:
            return path.open("rb")


def _most_unpacked(size: int) -> int:
    return max(_ALWAYS_UNPACKED, _LARGEST_RATIO * size)


def unreadable_file(path: str | os.PathLike[str], error: OSError) -> InputError:
    """Return the error for a file that cannot be opened or read."""
    cure = "run it again" if isinstance(error, FileNotFoundError) else "give access to it"
    return InputError(f"{os.fspath(path)}: cannot be read ({error.strerror or error}); {cure}")


class _Content(io.RawIOBase):
    """A file whose errors name it, with a limit to what it unpacks to."""

    def __init__(self, path: Path, file: BinaryIO, *, most: int | None) -> None:
        super().__init__()
        self._path = path
        self._file = file
        self._most = most
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer)
        try:
            data = self._file.read(len(view))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if self._most is None and isinstance(error, OSError):
                raise unreadable_file(self._path, error) from error
            raise InputError(
                f"{self._path}: cannot be unpacked ({error}); want a complete file: fetch or pack it again"
            ) from error
        view[: len(data)] = data
        self._count += len(data)
        if self._most is not None and self._count > self._most:
            raise InputError(
                f"{self._path}: unpacks to more than {self._most >> 20} MiB, {_LARGEST_RATIO} times its size; "
                "unpack it yourself if it is to be read"
            )
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
