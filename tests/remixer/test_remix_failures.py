"""What exceptions of any client mean."""

from __future__ import annotations

import http.client
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.retry import failure_of, seconds_of


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
        (HTTPStatusError(429), "passing"),
        (HTTPStatusError(500), "passing"),
        (HTTPStatusError(529), "passing"),
        (HTTPStatusError(408), "passing"),
        (ChatError("no", status_code=503), "passing"),
        (ChatError("cut short"), "passing"),
        (TimeoutError(), "passing"),
        (ConnectionResetError(), "passing"),
        (http.client.IncompleteRead(b""), "passing"),
        (ReadTimeoutError(), "passing"),
        (HTTPStatusError(400), "lasting"),
        (HTTPStatusError(413), "lasting"),
        (HTTPStatusError(422), "lasting"),
        (HTTPStatusError(401), "fatal"),
        (HTTPStatusError(403), "fatal"),
        (HTTPStatusError(404), "fatal"),
        (HTTPStatusError(429, "insufficient_quota"), "fatal"),
        (InputError("no such model"), "fatal"),
        (TypeError("complete() takes no arguments"), "fatal"),
        (ValueError("odd"), "unclear"),
        (RuntimeError("odd"), "unclear"),
    ],
    ids=repr,
)
def test_an_error_is_told_apart(error: Exception, kind: str):
    assert failure_of(error).kind == kind


def test_the_message_of_a_failure_is_one_short_line():
    message = failure_of(RuntimeError("a\nb" * 1000)).message
    assert message.startswith("RuntimeError: a ba b")
    assert len(message) == 300


def test_what_the_server_asks_for_is_heard_from_every_client():
    assert failure_of(ChatError("wait", status_code=429, retry_after=3.0)).retry_after == 3.0
    assert failure_of(HTTPStatusError(429, **{"retry-after": "7"})).retry_after == 7.0
    assert failure_of(HTTPStatusError(429)).retry_after is None


@pytest.mark.parametrize(("value", "seconds"), [("2", 2.0), ("-1", 0.0), (1.5, 1.5), (None, None), ("soon", None)])
def test_a_retry_after_is_read_as_seconds(value, seconds):
    assert seconds_of(value) == seconds


def test_a_retry_after_may_be_a_date():
    assert seconds_of(formatdate(1000, usegmt=True), now=lambda: 940.0) == 60.0
    assert seconds_of(formatdate(1000, usegmt=True), now=lambda: 2000.0) == 0.0
