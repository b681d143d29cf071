"""Rate limits: the law of the token bucket, and pauses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.llm.limits import RateLimiter, TokenBucket


class Clock:
    """Time that passes only when someone rests."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def rest(self, seconds: float) -> bool:
        self.now += seconds
        return False


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 8)), min_size=1, max_size=40),
    st.floats(0.5, 20),
    st.floats(1, 10),
)
def test_no_stretch_of_time_lets_more_through_than_the_rate_and_one_burst(steps, rate: float, capacity: float):
    clock = Clock()
    bucket = TokenBucket(rate=rate, capacity=capacity, clock=clock)
    taken: list[tuple[float, float]] = []
    for pause, amount in steps:
        clock.now += pause
        while wait := bucket.wait_for(amount):
            clock.now += wait
        taken.append((clock.now, amount))
    for start, (since, _) in enumerate(taken):
        total = 0.0
        for at, amount in taken[start:]:
            total += amount
            excess = max(0.0, amount - capacity)  # an amount above the capacity goes through whole
            assert total <= capacity + rate * (at - since) + excess + 1e-6


@settings(deadline=None)
@given(st.floats(0.5, 20), st.integers(2, 60))
def test_a_bucket_that_is_always_asked_gives_its_whole_rate(rate: float, calls: int):
    clock = Clock()
    bucket = TokenBucket(rate=rate, capacity=1.0, clock=clock)
    for _ in range(calls):
        while wait := bucket.wait_for(1.0):
            clock.now += wait
    assert clock.now == pytest.approx((calls - 1) / rate)


def _limiter(clock: Clock, **limits: int) -> RateLimiter:
    return RateLimiter(**limits, rest=clock.rest, clock=clock)


def test_without_limits_nothing_waits():
    clock = Clock()
    limiter = _limiter(clock)
    assert all(limiter.wait(10**9) for _ in range(100))
    assert clock.now == 0.0


def test_requests_a_minute_hold_after_the_first_burst():
    clock = Clock()
    limiter = _limiter(clock, requests_per_minute=60)
    for _ in range(65):
        limiter.wait(1)
    assert clock.now == pytest.approx(60.0)


def test_tokens_a_minute_hold_and_what_was_not_used_is_given_back():
    clock = Clock()
    limiter = _limiter(clock, tokens_per_minute=600)
    limiter.wait(50)  # the burst
    limiter.settle(expected=50, used=10)
    limiter.wait(40)
    assert clock.now == 0.0
    limiter.wait(20)
    assert clock.now == pytest.approx(2.0)
    limiter.settle(expected=20, used=40)  # longer than expected: paid off first
    limiter.wait(10)
    assert clock.now == pytest.approx(5.0)


def test_a_request_that_waits_for_tokens_does_not_use_up_requests():
    clock = Clock()
    limiter = _limiter(clock, requests_per_minute=6, tokens_per_minute=60)
    limiter.wait(12)
    limiter.wait(12)  # its request is due at 10 s, its tokens at 12 s
    assert clock.now == pytest.approx(12.0)


def test_a_pause_holds_everyone_and_the_longest_counts():
    clock = Clock()
    limiter = _limiter(clock)
    limiter.pause(3.0)
    limiter.pause(1.0)
    limiter.wait(1)
    assert clock.now == pytest.approx(3.0)


def test_a_wait_is_given_up_when_the_rest_is_cut_short():
    limiter = RateLimiter(rest=lambda _: True, clock=Clock())
    limiter.pause(1.0)
    assert not limiter.wait(1)
