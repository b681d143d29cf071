"""Waits for other threads and processes that end in a failure, not in a hang, whatever the speed of the machine."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

WAIT_S = 60
_PAUSE_S = 0.002
"""Between two looks: a loop without pauses takes the core, or the interpreter's lock, from what it waits for."""


def until(happened: Callable[[], bool], *, within_s: float = WAIT_S) -> None:
    """Wait until something has happened; fail where it has not within a time."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"did not happen within {within_s:g} s"
        time.sleep(_PAUSE_S)


@contextmanager
def repeated(act: Callable[[], None], *, threads: int) -> Iterator[None]:
    """Repeat an act in several threads until the end of the block, however it ends; raise what the act raises."""
    all_started, over = threading.Barrier(threads + 1), threading.Event()

    def repeat() -> None:
        all_started.wait(WAIT_S)
        act()
        while not over.is_set():
            act()

    with ThreadPoolExecutor(threads) as pool:
        loops = [pool.submit(repeat) for _ in range(threads)]
        try:
            all_started.wait(WAIT_S)
            yield
        finally:
            over.set()
    for loop in loops:
        loop.result()


def all_succeed(processes: Sequence[subprocess.Popen], *, within_s: float = 300) -> None:
    """Wait until every process has exited with 0; kill the others where one fails, since they may wait for it."""
    try:
        until(lambda: any(process.poll() for process in processes) or not _running(processes), within_s=within_s)
        assert [process.poll() for process in processes] == [0] * len(processes), "a process failed, or was left alone"
    finally:
        for process in _running(processes):
            process.kill()
            process.wait()


def _running(processes: Sequence[subprocess.Popen]) -> list[subprocess.Popen]:
    return [process for process in processes if process.poll() is None]
