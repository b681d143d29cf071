"""The cache folder, and marks in it: what passed a check once is not checked again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

__all__ = ["cache_folder", "is_marked", "mark"]


def cache_folder() -> Path:
    """Return the folder for what can be made again: in $REASONEMBED_CACHE, $XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("REASONEMBED_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "reasonembed-rag"


def is_marked(checked: str) -> bool:
    """Return whether what this text describes passed before."""
    return _path(checked).is_file()


def mark(checked: str) -> None:
    """Record that what this text describes passed; a cache that cannot be written is ignored."""
    with contextlib.suppress(OSError):
        path = _path(checked)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _path(checked: str) -> Path:
    return cache_folder() / "verified" / hashlib.blake2b(checked.encode(), digest_size=16).hexdigest()
