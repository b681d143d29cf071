"""Keep the cache of graphs within its limit: those that were not used for the longest time go first."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from reasonembed_rag.files import delete_abandoned, hold, unused
from reasonembed_rag.graph.builder import GRAPH_FILE

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GRAPH_BYTES", "Hold", "delete_unused", "evict", "hold_graph"]

GRAPH_BYTES = 8 * 2**30
"""Most bytes of all graphs in the cache; the newest and those in use are kept beyond it."""


class Hold:
    """A file of the cache that is in use, and is not deleted while this lives, in whatever process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        hold(descriptor)

    def __del__(self) -> None:
        os.close(self._descriptor)


def hold_graph(path: Path) -> Hold:
    """Return a hold on a graph's file, which counts as used now; raises OSError where it cannot be opened."""
    held = Hold(os.open(path, os.O_RDONLY))
    with contextlib.suppress(OSError):
        os.utime(path.parent)  # not the file: its times are part of what identifies it
    return held


def delete_unused(folder: Path) -> bool:
    """Delete the folder of a graph unless a process holds it or writes it; return whether it is gone."""
    with contextlib.ExitStack() as held:
        if all(held.enter_context(unused(path)) for path in (folder / GRAPH_FILE, *folder.glob(".*.tmp"))):
            shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def evict(graphs: Path, *, keep: Path) -> int:
    """Delete the graphs used least recently until all fit into GRAPH_BYTES; return how many were deleted.

    What killed writers left is deleted first, or counted where nobody can tell.
    """
    used = []
    for folder in graphs.glob("*/*"):
        with contextlib.suppress(OSError):  # another process deletes it
            last = folder.stat().st_mtime
            delete_abandoned(folder)
            used.append((last, sum(path.stat().st_size for path in folder.iterdir()), folder))
    total, deleted = sum(size for _, size, _ in used), 0
    for _, size, folder in sorted(used):
        if total <= GRAPH_BYTES:
            break
        if size and folder != keep and delete_unused(folder):
            total, deleted = total - size, deleted + 1
    return deleted
