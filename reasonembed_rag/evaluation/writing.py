"""Text files written whole or not at all, and a clear error where that cannot be."""

from __future__ import annotations

from pathlib import Path

from reasonembed_rag.atomic import replacing
from reasonembed_rag.errors import InputError

__all__ = ["write_text"]


def write_text(text: str, path: Path) -> None:
    """Write UTF-8 text whole or not at all; raises InputError where it cannot be written."""
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error
