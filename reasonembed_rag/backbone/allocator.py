"""Freed memory goes back to the system and few kernels are kept: long calls take little more than short ones."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bound_kernel_cache", "give_back_freed"]

_KERNELS = "64"
"""oneDNN's kernels kept: one is made for every size of a product, and a call of many packs has many sizes."""


def bound_kernel_cache() -> None:
    """Keep oneDNN's cache of compiled kernels small, for this process, unless its own variable says how large.

    It counts before the first product; 1,024, its default, take some hundred megabytes.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _KERNELS)


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
