"""Files in use: a lock that ends with its process tells whether another one may delete a file."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["delete_abandoned", "hold", "temporary_file", "temporary_folder", "unused"]

_logger = logging.getLogger(__name__)

_locks: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows, where a file that is open cannot be deleted."""
_OF_A_THREAD = re.compile(r"\.\d+-\d+\.tmp\Z")
_warned: set[int] = set()
"""Devices whose file system was reported to have no locks."""


def hold(descriptor: int) -> None:
    """Hold an open file until it is closed; does nothing on file systems without locks."""
    if _locks is not None:
        with contextlib.suppress(OSError):
            _locks.flock(descriptor, _locks.LOCK_SH)


@contextmanager
def unused(path: Path) -> Iterator[bool]:
    """Yield whether nobody holds a file or folder, which nobody can hold meanwhile; a missing one is unused.

    Where the file system has no locks nobody can tell: it counts as used, and the log says so once.
    """
    if _locks is None:
        yield True
        return
    try:  # for writing, without which NFS gives no lock that excludes others
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)
        return
    try:
        yield _locked(descriptor, path)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, path: Path) -> bool:
    try:
        _locks.flock(descriptor, _locks.LOCK_EX | _locks.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        _warn(os.fstat(descriptor).st_dev, path, error)
        return False
    return True


def _warn(device: int, path: Path, error: OSError) -> None:
    if device not in _warned:
        _warned.add(device)
        _logger.warning(
            "%s: not deleted, since this file system has no locks (%s) that tell whether it is in use; delete what is "
            "too much there yourself",
            path,
            error.strerror,
        )


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield the name beside `path` of a file of this thread, which is held; those of killed writers are deleted.

    The caller renames it or deletes it.
    """
    temporary = _temporary(path)
    if _locks is None:
        yield temporary
        return
    descriptor = _create_held(temporary, lambda: os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666))
    try:
        yield temporary
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder of this thread beside `path`, which is held; those of killed writers are deleted.

    The caller renames it; one that is left is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    shutil.rmtree(temporary, ignore_errors=True)
    descriptor = None
    try:
        if _locks is None:
            temporary.mkdir()
        else:
            descriptor = _create_held(temporary, lambda: _opened_folder(temporary))
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _temporary(path: Path) -> Path:
    delete_abandoned(path.parent, glob.escape(path.name))
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.tmp")


def _opened_folder(path: Path) -> int:
    path.mkdir(exist_ok=True)
    return os.open(path, os.O_RDONLY)


def _create_held(path: Path, create: Callable[[], int]) -> int:
    while True:
        descriptor = create()
        hold(descriptor)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # it was taken for abandoned before it was held


def delete_abandoned(folder: Path, name: str = "*") -> None:
    """Delete the temporary files and folders that killed writers left of those in a folder, by `name` or a pattern.

    Those of living writers stay, and so do all where nobody can tell: on Windows and on file systems without locks.
    """
    if _locks is None:
        return
    for path in folder.glob(f".{name}.*.tmp"):
        with unused(path) as abandoned, contextlib.suppress(OSError):
            if abandoned and not path.is_dir():
                path.unlink()
            elif abandoned and _OF_A_THREAD.search(path.name):  # nobody else's folder
                shutil.rmtree(path)
