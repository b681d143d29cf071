"""Keep the cache of graphs within its limit: those that were not used for the longest time go first."""

from __future__ import annotations

import contextlib
import os
import shutil
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from reasonembed_rag.graph.builder import GRAPH_FILE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GRAPH_BYTES", "Hold", "delete_unused", "evict", "hold"]

_locks: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows, where a file that is open cannot be deleted."""
GRAPH_BYTES = 8 * 2**30
"""Most bytes of all graphs in the cache; the newest and those in use are kept beyond it."""


class Hold:
    """A file of the cache that is in use, and is not deleted while this lives, in whatever process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        if _locks is not None:
            with contextlib.suppress(OSError):  # a file system without locks
                _locks.flock(descriptor, _locks.LOCK_SH)

    def __del__(self) -> None:
        os.close(self._descriptor)


def hold(path: Path) -> Hold:
    """Return a hold on a graph's file, which counts as used now; raises OSError where it cannot be opened."""
    held = Hold(os.open(path, os.O_RDONLY))
    with contextlib.suppress(OSError):
        os.utime(path.parent)  # not the file: its times are part of what identifies it
    return held


def delete_unused(folder: Path) -> bool:
    """Delete the folder of a graph unless a process holds it; return whether it is gone."""
    if _locks is None:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()
    try:
        descriptor = os.open(folder / GRAPH_FILE, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = None
    except OSError:
        return False
    try:
        if descriptor is not None:
            _locks.flock(descriptor, _locks.LOCK_EX | _locks.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return not folder.exists()


def evict(graphs: Path, *, keep: Path) -> int:
    """Delete the graphs used least recently until all fit into GRAPH_BYTES; return how many were deleted."""
    used = []
    for folder in graphs.glob("*/*"):
        with contextlib.suppress(OSError):  # another process deletes it
            used.append((folder.stat().st_mtime, (folder / GRAPH_FILE).stat().st_size, folder))
    total, deleted = sum(size for _, size, _ in used), 0
    for _, size, folder in sorted(used):
        if total <= GRAPH_BYTES:
            break
        if folder != keep and delete_unused(folder):
            total, deleted = total - size, deleted + 1
    return deleted
