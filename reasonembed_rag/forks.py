"""What a fork breaks, made whole in the child: locks of threads that are gone, and OpenMP's threads.

Python forks by default on Linux up to 3.13: multiprocessing, concurrent.futures, DataLoader; so does gunicorn.
Only the forking thread lives on in the child. A lock that another thread held stays locked for ever, a thread pool
counts threads that do not exist, and GNU OpenMP (in torch and FAISS) waits for those of the forking thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

__all__ = ["ForkLock", "make_immortal", "renew_in_child", "run_in_own_thread"]

_Result = TypeVar("_Result")


class _Renewable(Protocol):
    def renew_after_fork(self) -> None:
        """Replace locks and threads; called in a forked child before anything else runs there."""


_renewables: WeakSet[_Renewable] = WeakSet()


class _Child:
    """The thread that came through the fork into this process, and the one that computes in its place."""

    survivor: int | None = None
    computing: ThreadPoolExecutor | None = None


def renew_in_child(owner: _Renewable) -> None:
    """Call owner.renew_after_fork() in every child that is forked while the owner lives."""
    _renewables.add(owner)


class ForkLock:
    """A reentrant lock that a forked child finds free, unless the thread that forked holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Take another lock where a thread of the parent held this one."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        """Give a copy a lock of its own."""
        return type(self), ()


def make_immortal(value: object) -> None:
    """Keep an object beyond the end of the interpreter, which finalizes what is left."""
    from ctypes import py_object, pythonapi

    pythonapi.Py_IncRef(py_object(value))


def run_in_own_thread(function: Callable[[], _Result]) -> _Result:
    """Run what may use OpenMP, in another thread where this one came through a fork and would wait for ever."""
    if threading.get_ident() != _Child.survivor:
        return function()
    if _Child.computing is None:
        _Child.computing = ThreadPoolExecutor(1, thread_name_prefix="reasonembed-after-fork")
    return _Child.computing.submit(function).result()


def _renew() -> None:
    _Child.survivor, _Child.computing = threading.get_ident(), None
    for owner in list(_renewables):
        owner.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
