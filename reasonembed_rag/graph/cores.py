"""The cores that a session's own threads run on: all but the one of its caller, wherever that lies.

A kernel may go on waking a thread on the caller's own core while another is idle; both then take turns, and a query
takes up to twice as long (docs/experiments/two-engines.md). The caller's thread is the user's and stays where it is.
"""

from __future__ import annotations

import ctypes
import functools
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WorkerCores", "opened_with_cores", "other_cores"]

_TASKS = Path("/proc/self/task")

_Opened = TypeVar("_Opened")
_Result = TypeVar("_Result")


def other_cores(threads: int) -> list[int]:
    """Return a core for each thread of a session but the caller's, where they use all cores; else none.

    Which core is left to callers at first is drawn, since several processes may compute at once.
    """
    if threads < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) != threads:
        return []
    first = secrets.randbelow(threads)
    return cores[first + 1 :] + cores[:first]


def opened_with_cores(open_session: Callable[[], _Opened]) -> tuple[_Opened, WorkerCores]:
    """Open a session, and return with it the cores of its threads."""
    cores, before = _cores(), _threads()
    opened = open_session()
    return opened, WorkerCores(cores, begun=_threads() - before)


class WorkerCores:
    """Move the threads of one session, each of which was given a core of its own, away from a caller's core."""

    def __init__(self, cores: frozenset[int], *, begun: frozenset[int]) -> None:
        self._cores = cores
        self._begun = begun
        """Threads that began while the session was opened: its own, and perhaps others."""
        self._threads: dict[int, int] = {}
        """The session's threads by their cores, once they are known."""
        self._free = -1
        """The core that is left to the caller."""
        self._calling = threading.Lock()

    def call(self, run: Callable[..., _Result], *given: Any) -> _Result:
        """Call a function with the caller's core left to it; while calls overlap, nothing is moved."""
        if not self._calling.acquire(blocking=False):
            return run(*given)
        try:
            self._leave(_core())
            return run(*given)
        finally:
            self._calling.release()

    def _leave(self, core: int) -> None:
        """Move the thread on this core to the one that was left free."""
        if self._begun and not self._threads:
            self._find()
        if core not in self._threads:
            return
        try:
            os.sched_setaffinity(self._threads[core], {self._free})
        except OSError:  # the thread is gone, or the core is no longer this process's
            self._threads, self._begun = {}, frozenset()
            return
        self._threads[self._free] = self._threads.pop(core)
        self._free = core

    def _find(self) -> None:
        """Find the session's threads by the one core that each has; they take it a little after they begin.

        Where others began with them that have one core too, these stay where they are.
        """
        pinned = []
        for thread in self._begun:
            with suppress(OSError):  # it is gone
                own = os.sched_getaffinity(thread)
                pinned += [(next(iter(own)), thread)] if len(own) == 1 else []
        threads = dict(pinned)
        free = self._cores - threads.keys()
        if len(free) == 1 and len(pinned) == len(self._cores) - 1:
            self._threads, self._free = threads, next(iter(free))


def _cores() -> frozenset[int]:
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def _threads() -> frozenset[int]:
    """Return the numbers of this process's threads; none where the system does not list them."""
    try:
        return frozenset(int(path.name) for path in _TASKS.iterdir())
    except OSError:
        return frozenset()


@functools.cache
def _core_reader() -> Callable[[], int] | None:
    try:
        reader: Callable[[], int] = ctypes.CDLL(None).sched_getcpu
    except (AttributeError, OSError, TypeError):  # no such system call, or no such library
        return None
    return reader


def _core() -> int:
    """Return the number of the core that the calling thread runs on; -1 where the system does not say."""
    reader = _core_reader()
    return -1 if reader is None else reader()
