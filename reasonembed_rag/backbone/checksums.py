"""Check files against known SHA-256 sums, reading each file once for as long as it does not change."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

from reasonembed_rag.backbone.marks import is_marked, mark
from reasonembed_rag.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_sum"]

_SETTLED = 2_000_000_000
"""Nanoseconds without a change after which a file's times tell a later change; those of file systems are coarse."""


def check_sum(path: Path, wanted: str, *, source: str) -> None:
    """Raise ModelError unless a file has this SHA-256 sum; `source` is what the sum belongs to.

    A file that passed is read again only if its path, size, inode, or time of change is another.
    """
    state = path.stat()
    times = (state.st_mtime_ns, state.st_ctime_ns)
    checked = f"sha256 {wanted}\n{path.absolute()}\n{state.st_size}\n{state.st_ino}\n{times}"
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
