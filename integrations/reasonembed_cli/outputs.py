"""Check that an output can be written before a command starts long work."""

from __future__ import annotations

import os
from pathlib import Path

from reasonembed_rag.errors import InputError

__all__ = ["check_new_folder", "check_output_file"]


def check_output_file(path: Path) -> None:
    """Raise InputError if this file cannot be written; parent directories are created if missing."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; want the name of a file")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise InputError(f"{path}: cannot be written, {parent} is not a writable folder; choose another path")


def check_new_folder(path: Path) -> None:
    """Raise InputError if the path exists and is not an empty folder."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists already; remove it, or choose another folder")
