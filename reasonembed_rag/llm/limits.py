"""How fast a model is asked: token buckets, a pause that the server asks for, back-off with jitter."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from reasonembed_rag.llm.config import CallConfig, ChatModelConfig

__all__ = ["Pace", "TokenBucket", "back_off"]

_BURST_SECONDS = 5.0


class TokenBucket:
    """Let `rate` units a second through, and after a pause at most `capacity` at once.

    An amount above the capacity goes through where the bucket is full, and is paid off before the next one. Over any
    stretch of T seconds no more than capacity + rate x T is let through, save for that one amount's excess.
    """

    def __init__(self, *, rate: float, capacity: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self.capacity = capacity
        self._clock = clock
        self._level = capacity
        self._at = clock()

    def wait_for(self, amount: float) -> float:
        """Return the seconds until an amount may go through; 0 takes it out at once."""
        self._fill()
        missing = min(amount, self.capacity) - self._level
        if missing > 1e-9:
            return missing / self.rate
        self._level -= amount
        return 0.0

    def give_back(self, amount: float) -> None:
        """Put back what was taken but not used; a negative amount is taken on top."""
        self._level = min(self.capacity, self._level + amount)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now


class Pace:
    """Hold calls back to a model's limits; shared by all threads that ask it.

    `rest(seconds)` sleeps and returns whether to give up; a threading.Event's wait does so when it is set.
    """

    def __init__(
        self,
        config: ChatModelConfig,
        *,
        rest: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until = clock()
        self._requests = _bucket(config.requests_per_minute, clock)
        self._tokens = _bucket(config.tokens_per_minute, clock)

    def wait(self, tokens: int) -> bool:
        """Return when a call of so many tokens may be made; False where it is to be given up."""
        while True:
            seconds = self._seconds(tokens)
            if seconds <= 0.0:
                return True
            if self._rest(seconds):
                return False

    def pause(self, seconds: float) -> None:
        """Let no call through for some seconds."""
        with self._lock:
            self._quiet_until = max(self._quiet_until, self._clock() + seconds)

    def settle(self, *, expected: int, used: int) -> None:
        """Put the tokens right that a call was expected to use."""
        if self._tokens is not None:
            with self._lock:
                self._tokens.give_back(expected - used)

    def _seconds(self, tokens: int) -> float:
        with self._lock:
            quiet = self._quiet_until - self._clock()
            if quiet > 0.0:
                return quiet
            waits = self._requests.wait_for(1) if self._requests is not None else 0.0
            if waits > 0.0 or self._tokens is None:
                return waits
            waits = self._tokens.wait_for(tokens)
            if waits > 0.0 and self._requests is not None:
                self._requests.give_back(1)
            return waits


def back_off(attempt: int, config: CallConfig) -> float:
    """Return the seconds to wait after the attempt-th failure (from 1): drawn evenly up to a doubling bound."""
    bound = min(config.longest_wait, config.first_wait * 2.0 ** min(attempt - 1, 60))
    return random.uniform(0.0, bound)  # noqa: S311 - spreads retries, guards nothing


def _bucket(per_minute: int | None, clock: Callable[[], float]) -> TokenBucket | None:
    if per_minute is None:
        return None
    rate = per_minute / 60
    return TokenBucket(rate=rate, capacity=max(1.0, rate * _BURST_SECONDS), clock=clock)
