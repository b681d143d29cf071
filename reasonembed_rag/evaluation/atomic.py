"""Write a file so that it is either whole or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from reasonembed_rag.errors import InputError

__all__ = ["write_text"]


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text aside, flush it to the disk and rename it into place.

    Raises InputError for a folder that does not exist or cannot be written.
    """
    try:
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).chmod(0o666 & ~_umask())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
