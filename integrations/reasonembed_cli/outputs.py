"""Checks of where a command will write, made before its long work."""

from __future__ import annotations

import os
from pathlib import Path

from reasonembed_rag.errors import InputError

__all__ = ["check_new_folder", "check_output_file"]


def check_output_file(path: Path) -> None:
    """Raise InputError where a file of this name cannot be written; missing folders are no hindrance."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; want the name of a file")
    home = next(folder for folder in path.absolute().parents if folder.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise InputError(f"{path}: cannot be written, {home} is no folder you may write to; name another place")


def check_new_folder(path: Path) -> None:
    """Raise InputError where something stands already; an empty folder is no hindrance."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists already; remove it, or name another folder")
