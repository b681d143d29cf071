"""Why a call brought no answer, and whether it may yet: exceptions of any client, read alike."""

from __future__ import annotations

import email.utils
import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from reasonembed_rag.errors import ChatError, ReasonEmbedError

__all__ = ["Failure", "failure_of", "retry_after_of", "seconds_of"]

Kind = Literal["passing", "unclear", "lasting", "fatal"]
"""Ask again; do not, but in the next run; this prompt fails for good, others may not; every prompt would fail."""

_PASSING_STATUS = frozenset({408, 409, 425, 429})
_FATAL_STATUS = frozenset({401, 402, 403, 404, 405})
_PASSING_ERRORS = (TimeoutError, ConnectionError, http.client.HTTPException, OSError)
_PASSING_NAMES = frozenset(
    {"APIConnectionError", "APITimeoutError", "ClientConnectionError", "TimeoutException", "TransportError"}
)
"""Classes of openai, anthropic, aiohttp and httpx, told by name so that none is imported."""
_DEFECTS = (TypeError, AttributeError, NameError, ImportError, AssertionError)
_EMPTY_PURSE = ("insufficient_quota", "exceeded your current quota", "credit balance")
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong with a call."""

    kind: Kind
    message: str
    retry_after: float | None = None
    """Seconds for which the server asks to be left alone."""
    status: int | None = None

    @property
    def cure(self) -> str:
        """What to do about a failure that every call would meet."""
        if _out_of_money(self.message) or self.status == http.HTTPStatus.PAYMENT_REQUIRED:
            return "top up the account and run the same command again, no answer is paid for twice"
        if self.status in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            return "check the API key and what it may use"
        if self.status is not None:
            return "check the model's name and the address, which ends in /v1 with most servers"
        return "check the model and its settings"


def failure_of(error: Exception) -> Failure:
    """Return what an exception of a chat model means for its call and for the others."""
    message = f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST_MESSAGE]
    status = _status(error)
    if status is not None:
        return Failure(_kind_of_status(status, message), message, retry_after_of(error), status)
    if isinstance(error, ChatError):
        return Failure("passing", message, retry_after_of(error))
    if isinstance(error, (ReasonEmbedError, *_DEFECTS)):
        return Failure("fatal", message)
    names = {base.__name__ for base in type(error).__mro__}
    passing = isinstance(error, _PASSING_ERRORS) or not names.isdisjoint(_PASSING_NAMES)
    return Failure("passing" if passing else "unclear", message)


def retry_after_of(error: Exception) -> float | None:
    """Return the seconds of an exception's retry_after or of its response's Retry-After header."""
    value = getattr(error, "retry_after", None)
    if value is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        value = headers.get("retry-after") if headers is not None else None
    return seconds_of(value)


def seconds_of(retry_after: object, *, now: Callable[[], float] = time.time) -> float | None:
    """Return what a Retry-After says, seconds or a date, as seconds from now; None for anything else."""
    if isinstance(retry_after, int | float):
        return max(0.0, float(retry_after))
    if not isinstance(retry_after, str):
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - now())
    except ValueError:
        return None


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an exception, of its own or of its response."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool):
                return status
    return None


def _kind_of_status(status: int, message: str) -> Kind:
    if status in _FATAL_STATUS or _out_of_money(message):
        return "fatal"
    return "passing" if status in _PASSING_STATUS or status >= 500 else "lasting"


def _out_of_money(message: str) -> bool:
    return any(words in message for words in _EMPTY_PURSE)
