"""What exceptions of any client mean."""

from __future__ import annotations

import http.client
from email.utils import formatdate
from types import SimpleNamespace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.retry import CallFailure, RetryPolicy, failure_of, seconds_of, with_retries


class HTTPStatusError(Exception):
    """Shaped as httpx, openai and anthropic shape theirs."""

    def __init__(self, status: int, message: str = "no", **headers: str) -> None:
        super().__init__(message)
        self.response = SimpleNamespace(status_code=status, headers=headers)


class TransportError(Exception):
    """Named as httpx names its own."""


class ReadTimeoutError(TransportError):
    pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HTTPStatusError(429), "retryable"),
        (HTTPStatusError(500), "retryable"),
        (HTTPStatusError(529), "retryable"),
        (HTTPStatusError(408), "retryable"),
        (ChatError("no", status_code=503), "retryable"),
        (ChatError("cut short"), "retryable"),
        (TimeoutError(), "retryable"),
        (ConnectionResetError(), "retryable"),
        (http.client.IncompleteRead(b""), "retryable"),
        (ReadTimeoutError(), "retryable"),
        (httpx.ConnectError("no route"), "retryable"),
        (httpx.ReadTimeout("late"), "retryable"),
        (HTTPStatusError(400), "permanent"),
        (HTTPStatusError(413), "permanent"),
        (HTTPStatusError(422), "permanent"),
        (HTTPStatusError(401), "fatal"),
        (HTTPStatusError(403), "fatal"),
        (HTTPStatusError(404), "fatal"),
        (HTTPStatusError(307), "fatal"),
        (HTTPStatusError(429, "insufficient_quota"), "fatal"),
        (InputError("no such model"), "fatal"),
        (TypeError("complete() takes no arguments"), "fatal"),
        (ValueError("odd"), "unclear"),
        (RuntimeError("odd"), "unclear"),
    ],
    ids=repr,
)
def test_an_error_is_classified(error: Exception, kind: str):
    assert failure_of(error).kind == kind


def test_the_message_of_a_failure_is_one_short_line():
    message = failure_of(RuntimeError("a\nb" * 1000)).message
    assert message.startswith("RuntimeError: a ba b")
    assert len(message) == 300


def test_retry_after_is_read_from_the_exceptions_of_every_client():
    assert failure_of(ChatError("wait", status_code=429, retry_after=3.0)).retry_after == 3.0
    assert failure_of(HTTPStatusError(429, **{"retry-after": "7"})).retry_after == 7.0
    assert failure_of(HTTPStatusError(429)).retry_after is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), ("-1", 0.0), (1.5, 1.5), (None, None), ("soon", None), ("nan", None), (True, None)],
)
def test_a_retry_after_is_read_as_seconds(value, seconds):
    assert seconds_of(value) == seconds


def test_a_retry_after_may_be_a_date():
    assert seconds_of(formatdate(1000, usegmt=True), now=lambda: 940.0) == 60.0
    assert seconds_of(formatdate(1000, usegmt=True), now=lambda: 2000.0) == 0.0


BUSY = CallFailure("retryable", "busy")


@settings(deadline=None)
@given(st.integers(1, 200))
def test_back_off_doubles_up_to_its_bound_and_is_spread(attempt: int):
    policy = RetryPolicy(attempts=1000, first_wait=0.5, longest_wait=20.0)
    bound = min(20.0, 0.5 * 2.0 ** (attempt - 1))
    waits = {policy.next_wait(attempt, BUSY) for _ in range(20)}
    assert all(bound / 2 <= wait <= bound for wait in waits)
    assert len(waits) > 1


def test_retry_after_takes_the_place_of_the_back_off_and_is_bounded():
    policy = RetryPolicy(first_wait=0.5, longest_wait=20.0)
    assert 7.25 <= policy.next_wait(5, CallFailure("retryable", "busy", retry_after=7.0)) <= 7.5
    assert 20.25 <= policy.next_wait(1, CallFailure("retryable", "busy", retry_after=3600.0)) <= 20.5
    assert policy.next_wait(3, CallFailure("retryable", "busy", retry_after=0.0)) >= 1.0


def test_only_retryable_failures_are_tried_again_and_only_so_often():
    policy = RetryPolicy(attempts=3)
    assert [policy.next_wait(attempt, BUSY) is None for attempt in (1, 2, 3, 4)] == [False, False, True, True]
    assert {policy.next_wait(1, CallFailure(kind, "no")) for kind in ("unclear", "permanent", "fatal")} == {None}


@pytest.mark.parametrize(
    ("chosen", "names"),
    [({"attempts": 0}, r"\battempts\b.*\b0\b"), ({"first_wait": 9.0, "longest_wait": 1.0}, r"\b9\.0\b.*\b1\.0\b")],
)
def test_a_policy_that_cannot_work_is_refused(chosen, names: str):
    with pytest.raises(InputError, match=names):
        RetryPolicy(**chosen)


def _failing(*errors: Exception):
    left = list(errors)

    def chat(prompt: str) -> str:
        if left:
            raise left.pop(0)
        return prompt.upper()

    return chat


def test_a_chat_with_retries_answers_after_retryable_failures():
    slept = []
    chat = with_retries(
        _failing(TimeoutError(), ChatError("busy", status_code=429, retry_after=3.0)), sleep=slept.append
    )
    assert chat("a") == "A"
    assert len(slept) == 2
    assert 3.5 <= slept[1] <= 4.0


def test_a_chat_with_retries_raises_the_last_error_when_attempts_run_out_and_others_at_once():
    slept = []
    policy = RetryPolicy(attempts=2, first_wait=0.0)
    with pytest.raises(TimeoutError, match="second"):
        with_retries(_failing(TimeoutError("first"), TimeoutError("second")), policy, sleep=slept.append)("a")
    with pytest.raises(ChatError, match="bad"):
        with_retries(_failing(ChatError("bad", status_code=400)), policy, sleep=slept.append)("a")
    assert slept == [0.0]
