"""Bound the memory of long calls: return freed heap to the system and limit oneDNN's kernel cache."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bound_kernel_cache", "give_back_freed"]

_KERNELS = "64"
"""Capacity of each kernel cache: one kernel of 0.3 MB is compiled per product size, and a long call has many sizes."""
_CAPACITIES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""oneDNN's cache, and that of ideep, through which torch calls it: either keeps what the other has dropped."""


def bound_kernel_cache() -> None:
    """Limit the kernel caches of oneDNN and of torch's calls to it, unless their environment variables are set.

    Works before the first product only; the default capacities of 1,024 can take hundreds of megabytes.
    """
    for name in _CAPACITIES:
        os.environ.setdefault(name, _KERNELS)


def give_back_freed() -> None:
    """Return freed heap to the system with glibc; do nothing with other C libraries.

    Packs differ in size, so freed blocks are seldom reused: without this the heap grows by some megabytes per pack.
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
