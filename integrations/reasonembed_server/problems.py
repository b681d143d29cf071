"""Errors as answers in OpenAI's format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from reasonembed_rag.errors import ChatError, InputError, OutageError, ReasonEmbedError

__all__ = ["ApiProblem", "ClientGoneError", "answer_of", "problem_of"]

_TYPES = {401: "authentication_error", 429: "rate_limit_error"}


_COME_BACK_S = 5.0
_ANSWERS: Sequence[tuple[type[BaseException], int, str | None, str | None]] = (
    (RecursionError, 400, "the request is nested too deeply; want at most a few levels", "nested_too_deeply"),
    (InputError, 400, None, "invalid_input"),
    (TimeoutError, 504, "the answer took too long; send fewer texts at once, or try again later", "timeout"),
    (OutageError, 503, "the model is not available; try again soon", "model_unavailable"),
    (ChatError, 502, None, "chat_model_failed"),
    (ReasonEmbedError, 500, None, None),
)
"""Status, message (the error's own where there is none) and code by the class of an error, the first that fits."""


class ApiProblem(Exception):  # noqa: N818 - the answer to a request, not a failure of the program
    """What is wrong with a request, or why it cannot be answered now."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> str:
        """OpenAI's type of the error."""
        return _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")


class ClientGoneError(Exception):
    """The client has disconnected: nobody waits for the answer."""


def problem_of(error: BaseException) -> ApiProblem:
    """Return the answer to an error; what was not raised on purpose says nothing of the request's texts."""
    if isinstance(error, ApiProblem):
        return error
    for kinds, status, message, code in _ANSWERS:
        if isinstance(error, kinds):
            return ApiProblem(
                status,
                message or str(error),
                code=code or type(error).__name__,
                retry_after_s=_COME_BACK_S if status == 503 else None,
            )
    return ApiProblem(500, "the server failed; its log says where", code="internal_error")


def answer_of(problem: ApiProblem) -> Response:
    """Return a problem as a response, with Retry-After where a client should come back."""
    error: dict[str, Any] = {
        "message": problem.message,
        "type": problem.kind,
        "param": problem.param,
        "code": problem.code,
    }
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(problem.retry_after_s)))
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    if problem.status in {408, 413}:
        headers["connection"] = "close"  # the rest of the body is not read
    return Response(to_json({"error": error}), problem.status, headers, "application/json")
