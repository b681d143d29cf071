"""Digests of large files, each file read once for as long as it does not change."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from reasonembed_rag.backbone.marks import is_marked, mark, recall
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_sum", "file_digest"]

_SETTLED = 2_000_000_000
"""Nanoseconds without a change after which a file's times tell a later change; those of file systems are coarse."""


def check_sum(path: Path, wanted: str, *, source: str) -> None:
    """Raise ModelError unless a file has this SHA-256 sum; `source` is what the sum belongs to.

    A file that passed is read again only if its path, size, inode, or time of change is another.
    """
    times, identity = _state(path)
    checked = f"sha256 {wanted}\n{identity}"
    if is_marked(checked):
        return
    started = time.time_ns()
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != wanted:
        raise ModelError(
            f"{path}: its sha256 is {got}, want {wanted}, that of {source}; "
            f"delete {path.resolve()} and load the model again, which fetches the file again"
        )
    if max(times) < started - _SETTLED:
        mark(checked)


def file_digest(path: Path) -> str:
    """Return 32 hexadecimal digits of a file's content, remembered as check_sum remembers that a file passed."""
    times, identity = _state(path)
    if (known := recall(f"digest of {identity}")) is not None:
        return known
    started = time.time_ns()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    if max(times) < started - _SETTLED:
        mark(f"digest of {identity}", digest)
    return digest


def _state(path: Path) -> tuple[tuple[int, int], str]:
    """Return the times of a file's changes, and what tells it from other files and from itself when it was another."""
    state = path.stat()
    times = (state.st_mtime_ns, state.st_ctime_ns)
    return times, f"{path.absolute()}\n{state.st_size}\n{state.st_ino}\n{times}"
