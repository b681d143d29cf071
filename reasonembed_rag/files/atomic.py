"""Files that are whole or absent: written aside, flushed to disk, then put in place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from reasonembed_rag.errors import InputError

__all__ = ["flush_folder", "replacing", "write_text"]

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a write can end in; any other error in a block is told by what was to be written, such as a broken source."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file for writing that takes the place of `path` when the block ends well, and vanishes when it fails.

    Whoever opens `path` sees the old bytes or all the new ones, whenever the process dies. Missing parent folders are
    made. Raises OSError, naming the file, where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            aside.unlink()
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK and error.filename is None:
            error.filename = str(path)  # a full disk is told by the write, which knows no name
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut; systems that cannot open folders do it by themselves."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text whole or not at all; raises InputError where it cannot be written."""
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error
