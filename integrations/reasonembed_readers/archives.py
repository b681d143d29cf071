"""Documents that are archives (zip), opened without trusting what they say of their size."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from reasonembed_rag.errors import InputError
from reasonembed_readers.raw import inner_name, read_bytes, unreadable_file

__all__ = ["DAMAGED", "open_archive", "read_member", "seekable"]

_ALWAYS_UNPACKED = 64 << 20
_LARGEST_RATIO = 200
_LARGEST = 1 << 30
_ENCRYPTED = 1

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error)
"""What zipfile raises for damaged archives and for ways of packing that it does not know."""


@contextmanager
def seekable(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked, so that it can be read from any place; raises InputError for one that cannot be opened."""
    if path.name.lower() != inner_name(path):
        yield io.BytesIO(read_bytes(path))
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable_file(path, error) from error
    with file:
        yield file


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive that unpacks to no more than is safe.

    Raises InputError for one that is damaged, protected by a password or made to fill memory.
    """
    with seekable(path) as file, _errors_named(path), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        size, packed = (sum(getattr(one, kind) for one in members) for kind in ("file_size", "compress_size"))
        if size > _LARGEST or size > max(_ALWAYS_UNPACKED, _LARGEST_RATIO * packed):
            raise InputError(
                f"{path}: unpacks to {size >> 20:,} MiB, {size // max(packed, 1):,} times its size; "
                "want a document that fits in memory: split it, or save it without its pictures"
            )
        if any(one.flag_bits & _ENCRYPTED for one in members):
            raise InputError(f"{path}: is protected by a password; save it without one")
        yield archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """Return the bytes of a member, no more than the archive says it has; None where it has no such member."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        return None
    return archive.read(info)  # stops at file_size, and checks the sum of what it read


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"{path}: damaged ({error}); want a complete file: fetch or save it again") from error
