"""Rate limits: token buckets, and pauses that the server asks for."""

from __future__ import annotations

import time
from collections.abc import Callable

from reasonembed_rag.forks import ForkLock

__all__ = ["RateLimiter", "TokenBucket"]

_BURST_SECONDS = 5.0


class TokenBucket:
    """Admit `rate` units per second, and at most `capacity` at once after a pause.

    An amount above the capacity is admitted when the bucket is full and paid off before the next one. In any T seconds
    at most capacity + rate x T is admitted, apart from that one amount's excess.
    """

    def __init__(self, *, rate: float, capacity: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.capacity = capacity
        self._clock = clock
        self._level = capacity
        self._at = clock()

    def wait_for(self, amount: float) -> float:
        """Return the seconds until an amount is admitted; at 0 it has been taken out."""
        self._fill()
        missing = min(amount, self.capacity) - self._level
        if missing > 1e-9:
            return missing / self.rate
        self._level -= amount
        return 0.0

    def give_back(self, amount: float) -> None:
        """Put back what was taken but not used; a negative amount takes more."""
        self._level = min(self.capacity, self._level + amount)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now


class RateLimiter:
    """Delay calls to stay within a model's limits; shared by all threads that call it.

    `rest(seconds)` sleeps and returns whether to give up, as threading.Event.wait does.
    """

    def __init__(
        self,
        *,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        rest: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._lock = ForkLock()
        self._paused_until = clock()
        self._requests = _bucket(requests_per_minute, clock)
        self._tokens = _bucket(tokens_per_minute, clock)

    def wait(self, tokens: int) -> bool:
        """Wait until a call of this many tokens may be made; return False if it is to be given up."""
        while True:
            seconds = self._seconds(tokens)
            if seconds <= 0.0:
                return True
            if self._rest(seconds):
                return False

    def pause(self, seconds: float) -> None:
        """Admit no call for some seconds."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock() + seconds)

    def settle(self, *, expected: int, used: int) -> None:
        """Correct the tokens that a call was expected to use."""
        if self._tokens is not None:
            with self._lock:
                self._tokens.give_back(expected - used)

    def _seconds(self, tokens: int) -> float:
        with self._lock:
            pause = self._paused_until - self._clock()
            if pause > 0.0:
                return pause
            waits = self._requests.wait_for(1) if self._requests is not None else 0.0
            if waits > 0.0 or self._tokens is None:
                return waits
            waits = self._tokens.wait_for(tokens)
            if waits > 0.0 and self._requests is not None:
                self._requests.give_back(1)
            return waits


def _bucket(per_minute: int | None, clock: Callable[[], float]) -> TokenBucket | None:
    if per_minute is None:
        return None
    rate = per_minute / 60
    return TokenBucket(rate=rate, capacity=max(1.0, rate * _BURST_SECONDS), clock=clock)
