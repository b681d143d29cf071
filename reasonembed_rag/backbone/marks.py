"""The cache folder, and marks in it: what passed a check once is not checked again."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

__all__ = ["cache_folder", "is_marked", "mark", "recall"]


def cache_folder() -> Path:
    """Return the folder for what can be made again: in $REASONEMBED_CACHE, $XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("REASONEMBED_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "reasonembed-rag"


def is_marked(checked: str) -> bool:
    """Return whether what this text describes passed before."""
    return _path(checked).is_file()


def mark(checked: str, result: str = "") -> None:
    """Record that what this text describes passed, with a result of one line; an unwritable cache is ignored."""
    with contextlib.suppress(OSError):
        path = _path(checked)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not result:
            path.touch()
            return
        from reasonembed_rag.files import replacing

        with replacing(path) as file:
            file.write(f"{result}\n".encode())


def recall(checked: str) -> str | None:
    """Return the result that was recorded with a mark; None if there is none."""
    try:
        line = _path(checked).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return line[:-1] if line.endswith("\n") else None


def _path(checked: str) -> Path:
    return cache_folder() / "verified" / hashlib.blake2b(checked.encode(), digest_size=16).hexdigest()
