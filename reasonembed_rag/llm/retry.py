"""One retry policy: classify failed calls of any client, and say how long to wait before the next attempt."""

from __future__ import annotations

import email.utils
import http.client
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reasonembed_rag.errors import ChatError, InputError, ReasonEmbedError
from reasonembed_rag.llm.chat import Answer, Chat

__all__ = ["CallFailure", "FailureKind", "RetryPolicy", "failure_of", "retry_after_of", "seconds_of", "with_retries"]

FailureKind = Literal["retryable", "unclear", "permanent", "fatal"]
"""Call again; do not call again now, a later run may; this prompt will never succeed; no prompt will succeed."""

_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
"""In addition to the server's own failures (5xx)."""
_FATAL_STATUS = frozenset({401, 402, 403, 404, 405})
"""In addition to redirects (3xx)."""
_RETRYABLE_ERRORS = (TimeoutError, ConnectionError, http.client.HTTPException, OSError)
_RETRYABLE_NAMES = frozenset(
    {"APIConnectionError", "APITimeoutError", "ClientConnectionError", "TimeoutException", "TransportError"}
)
"""Classes of openai, anthropic, aiohttp and httpx, which LangChain passes on; by name, so that none is imported."""
_DEFECTS = (TypeError, AttributeError, NameError, ImportError, AssertionError)
_OUT_OF_QUOTA = ("insufficient_quota", "exceeded your current quota", "credit balance")
_MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class CallFailure:
    """Why a call failed."""

    kind: FailureKind
    message: str
    retry_after: float | None = None
    """Seconds that the server asks clients to wait."""
    status: int | None = None

    @property
    def cure(self) -> str:
        """What to do about a fatal failure."""
        if _out_of_quota(self.message) or self.status == http.HTTPStatus.PAYMENT_REQUIRED:
            return "top up the account and run again; stored answers are not paid for twice"
        if self.status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            return "check the API key and its permissions"
        if self.status is not None:
            return "check the model's name and the base URL, which ends in /v1 for most servers"
        return "check the model and its settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a retryable call is made, and the waits in between."""

    attempts: int = 6
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled for each further one."""
    longest_wait: float = 60.0
    """Upper bound of every wait, Retry-After included."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"attempts is {self.attempts}; want at least 1")
        if not 0 <= self.first_wait <= self.longest_wait:
            raise InputError(
                f"first_wait is {self.first_wait} and longest_wait {self.longest_wait}; "
                "want 0 <= first_wait <= longest_wait"
            )

    def next_wait(self, attempt: int, failure: CallFailure) -> float | None:
        """Return the seconds to wait after failed attempt number `attempt` (from 1); None if it was the last one.

        Retry-After counts up to longest_wait, plus a jitter that keeps clients from returning all at once. Without it
        the back-off is exponential: 50 to 100 % of a bound that doubles with every attempt.
        """
        if failure.kind != "retryable" or attempt >= self.attempts:
            return None
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
        if failure.retry_after:
            return min(failure.retry_after, self.longest_wait) + self.first_wait * jitter
        return min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, 60)) * jitter


def with_retries(
    chat: Chat, policy: RetryPolicy | None = None, *, sleep: Callable[[float], object] = time.sleep
) -> Chat:
    """Return a chat model that repeats retryable calls by the policy and then raises the last exception."""
    policy = policy or RetryPolicy()

    def retrying(prompt: str) -> str | Answer:
        attempt = 1
        while True:
            try:
                return chat(prompt)
            except Exception as error:
                wait = policy.next_wait(attempt, failure_of(error))
                if wait is None:
                    raise
            sleep(wait)
            attempt += 1

    return retrying


def failure_of(error: Exception) -> CallFailure:
    """Classify an exception of a chat model or of an HTTP client."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_MAX_MESSAGE]
    status = _status(error)
    if status is not None:
        return CallFailure(_kind_of_status(status, message), message, retry_after_of(error), status)
    if isinstance(error, ChatError):
        return CallFailure("retryable", message, retry_after_of(error))
    if isinstance(error, (ReasonEmbedError, *_DEFECTS)):
        return CallFailure("fatal", message)
    names = {base.__name__ for base in type(error).__mro__}
    retryable = isinstance(error, _RETRYABLE_ERRORS) or not names.isdisjoint(_RETRYABLE_NAMES)
    return CallFailure("retryable" if retryable else "unclear", message)


def retry_after_of(error: Exception) -> float | None:
    """Return the seconds of an exception's retry_after or of its response's Retry-After header."""
    value = getattr(error, "retry_after", None)
    if value is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        value = headers.get("retry-after") if headers is not None else None
    return seconds_of(value)


def seconds_of(retry_after: object, *, now: Callable[[], float] = time.time) -> float | None:
    """Return the value of a Retry-After header, seconds or an HTTP date, in seconds from now; None if it is neither."""
    if isinstance(retry_after, str):
        retry_after = _parsed(retry_after, now=now)
    if isinstance(retry_after, bool) or not isinstance(retry_after, int | float) or retry_after != retry_after:  # NaN  # noqa: PLR0124
        return None
    return max(0.0, float(retry_after))


def _parsed(text: str, *, now: Callable[[], float]) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() - now()
    except ValueError:
        return None


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an exception or of its response."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool):
                return status
    return None


def _kind_of_status(status: int, message: str) -> FailureKind:
    if status in _FATAL_STATUS or 300 <= status < 400 or _out_of_quota(message):
        return "fatal"
    return "retryable" if status in _RETRYABLE_STATUS or status >= 500 else "permanent"


def _out_of_quota(message: str) -> bool:
    return any(words in message for words in _OUT_OF_QUOTA)
