"""Atomic writes: a file is written to a temporary name, flushed to disk, and renamed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from reasonembed_rag.errors import InputError
from reasonembed_rag.files.locks import temporary_file, temporary_folder

__all__ = ["flush_folder", "replacing", "replacing_folder", "write_text"]

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of the write itself; any other error in the block comes from the source of what is written."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing that replaces `path` when the block succeeds, and is deleted when it fails.

    Readers of `path` see either all the old bytes or all the new ones, even if the process is killed; what it left is
    deleted by the next writer. Parent directories are created if missing. Raises OSError, naming the file, if it cannot
    be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as temporary:
        try:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException as error:
            with suppress(FileNotFoundError):
                temporary.unlink()
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS and error.filename is None:
                error.filename = str(path)  # a full disk is reported by the write, which does not know the name
            raise
    flush_folder(path.parent)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder` that takes its place when the block succeeds, and is deleted when it fails.

    `folder` is always the whole old one, the whole new one or, for a moment, absent. A killed process leaves at most
    hidden folders, from which the next one of the same name restores the old content, and which it deletes.
    """
    folder = Path(os.path.realpath(folder))  # a link stays one
    old = folder.with_name(f".{folder.name}.old")
    if old.exists() and not folder.exists():
        old.replace(folder)
    shutil.rmtree(old, ignore_errors=True)
    try:
        with temporary_folder(folder) as aside:
            yield aside
            _flush_tree(aside)
            if folder.exists():
                folder.replace(old)
            aside.replace(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.replace(folder)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush_tree(folder: Path) -> None:
    """Make a folder's content durable; its weights get the permissions of its other files."""
    model = next(iter(sorted(folder.glob("*.json"))), None)
    for path in folder.rglob("*"):
        if path.is_dir():
            flush_folder(path)
            continue
        if model is not None and path.suffix == ".safetensors":
            shutil.copymode(model, path)  # safetensors creates private files
        with path.open("rb") as file:
            os.fsync(file.fileno())
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Make a rename in the folder durable against power failure; on systems that cannot open folders, do nothing."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text atomically; raises InputError where it cannot be written."""
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error
