"""A bounded queue: what waits for a model, counted in tokens, and when a refused client should come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from reasonembed_server.problems import ApiProblem

__all__ = ["BoundedQueue"]

_LONGEST_WAIT_S = 60.0
_FORGET = 0.9
"""How much of the measured rate is kept at each change: it follows the last requests."""


class BoundedQueue:
    """Places for work of different sizes. Used in one event loop."""

    def __init__(self, limit: int, *, name: str, unit: str = "tokens") -> None:
        self.waiting = 0
        """What was taken and is not finished."""
        self.name = name
        self._limit, self._unit = limit, unit
        self._done = 0.0
        self._busy_s = 0.0
        self._since = 0.0

    @contextmanager
    def place(self, size: int) -> Iterator[None]:
        """Hold a place for the block; raises ApiProblem with Retry-After where the queue is full."""
        if self.waiting and self.waiting + size > self._limit:
            raise ApiProblem(
                429,
                f"{self.waiting} {self._unit} wait for {self.name} already, and {size} more would be over the limit "
                f"of {self._limit}; try again after the time in Retry-After",
                code="queue_full",
                retry_after_s=self._wait_s(size),
            )
        if not self.waiting:
            self._since = time.monotonic()
        self.waiting += size
        try:
            yield
        finally:
            self.waiting -= size
            now = time.monotonic()
            self._done = _FORGET * self._done + size
            self._busy_s = _FORGET * self._busy_s + now - self._since
            self._since = now

    def _wait_s(self, size: int) -> float:
        """Return in how many seconds there may be room, by the rate of the last requests."""
        too_much = self.waiting + size - self._limit
        seconds = too_much * self._busy_s / self._done if self._done else 1.0
        return min(max(seconds, 1.0), _LONGEST_WAIT_S)
