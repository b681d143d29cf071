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

from reasonembed_rag.forks import ForkLock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["WorkerCores", "core_for_each", "with_begun_threads"]

_TASKS = Path("/proc/self/task")
_TRIES = 20
"""How many calls look for the threads, which take their cores a little after they begin."""

_Result = TypeVar("_Result")


def core_for_each(threads: int) -> list[int]:
    """Return a core for each thread of a session, that of its caller first, where they use all cores; else none.

    Which core is the caller's at first is drawn, since several processes may compute at once.
    """
    if threads < 2 or not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) != threads:
        return []
    first = secrets.randbelow(threads)
    return cores[first:] + cores[:first]


_beginning = ForkLock()


def with_begun_threads(open_session: Callable[[], _Result]) -> tuple[_Result, frozenset[int]]:
    """Open a session, no two at a time, and return with it the threads that began meanwhile: its own, and others."""
    with _beginning:
        before = _threads()
        opened = open_session()
        return opened, _threads() - before


class WorkerCores:
    """Move the threads of one session, each of which was given a core of its own, away from a caller's core.

    The session was given `cores`, of which the first was left to its caller; without any, nothing is moved.
    """

    def __init__(self, cores: Sequence[int], *, begun: frozenset[int]) -> None:
        self._free, *self._given = cores or [-1]
        """The core that is left to the caller, and those of the session's threads at first."""
        self._begun = begun if len(begun) == len(self._given) else frozenset()  # more: some are not the session's
        self._tries = _TRIES
        self._threads: dict[int, int] = {}
        """The session's threads by their cores, once they are known."""
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
        """Move the thread on this core to the one that was left free, if the caller itself may run there."""
        if not self._threads and self._begun and self._tries:
            self._find()
        if core not in self._threads or self._free not in os.sched_getaffinity(0):
            return
        try:
            os.sched_setaffinity(self._threads[core], {self._free})
        except OSError:  # not allowed here
            self._threads, self._tries = {}, 0
            return
        self._threads[self._free] = self._threads.pop(core)
        self._free = core

    def _find(self) -> None:
        """Find which of the session's threads is on which core."""
        self._tries -= 1
        with suppress(OSError):  # one is gone
            owned = {thread: os.sched_getaffinity(thread) for thread in self._begun}
            threads = {core: thread for thread, own in owned.items() for core in own if len(own) == 1}
            if threads.keys() == set(self._given):
                self._threads = threads


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
