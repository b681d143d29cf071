"""Progress where there is no terminal: a line a minute at most, so that a log stays short."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta

__all__ = ["ProgressLines", "has_terminal"]

_EVERY_S = 60.0


def has_terminal() -> bool:
    """Return whether stderr can show a bar that moves."""
    return sys.stderr.isatty()


class ProgressLines:
    """Writes how far a step is, with the time that it took and that is left; nothing in the first minute."""

    def __init__(
        self, *, write: Callable[[str], object] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write or (lambda line: sys.stderr.write(f"{line}\n"))
        self._clock = clock
        self._next = clock() + _EVERY_S
        self._started: dict[str, float] = {}

    def show(self, step: str, done: int, total: int | None, *, more: str = "") -> None:
        """Take a step's progress; written if the last line is a minute old."""
        now = self._clock()
        start = self._started.setdefault(step, now)
        if now < self._next:
            return
        self._next = now + _EVERY_S
        passed = now - start
        counted = f"{done:,} of {total:,} ({100 * done / total:.0f} %)" if total else f"{done:,}"
        left = f", {_minutes(passed * (total - done) / done)} left" if total and 0 < done < total else ""
        self._write(f"{step}: {counted}, {_minutes(passed)}{left}{f'; {more}' if more else ''}")


def _minutes(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
