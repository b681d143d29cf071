"""Freed memory goes back to the system, so that long calls take no more than short ones."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["give_back_freed"]


def give_back_freed() -> None:
    """Return freed heap to the system where the C library can (glibc); do nothing elsewhere.

    Packs differ in size, and what one frees seldom fits the next: without this the heap grows by some megabytes a pack.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return trim
