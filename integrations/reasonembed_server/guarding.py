"""What surrounds every request: its key, its id, its line in the log, its measures, and an answer to every error."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from reasonembed_server.asked import Asked
from reasonembed_server.logs import log_event
from reasonembed_server.problems import ApiProblem, ClientGoneError, answer_of, problem_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from reasonembed_server.served import Served

__all__ = ["Guard"]

_OPEN = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
"""Paths that need no key: they tell nothing of texts and models."""
_PATHS = _OPEN | {"/metrics", "/v1/embeddings", "/v1/rerank", "/v2/rerank", "/v1/search", "/v1/models", "/v1/indexes"}
_QUIET = frozenset({"/health", "/ready", "/metrics"})
"""Paths that are asked every few seconds: their success is not logged."""
_GONE = 499
"""The status in logs and measures where a client has left."""


class Guard:
    """An ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, *, served: Served) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; what is not one goes to the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["asked"] = Asked()
        exchange = _Exchange(send, request_id=uuid.uuid4().hex)
        start = time.perf_counter()
        self._served.measures.running.inc()
        try:
            self._check_key(scope)
            await self._app(scope, receive, exchange.send)
        except ClientGoneError:
            exchange.status = _GONE
        except asyncio.CancelledError:
            exchange.status = exchange.status or _GONE
            raise
        except Exception as error:  # noqa: BLE001 - every error is answered
            await exchange.answer_error(error, scope, receive)
        finally:
            self._served.measures.running.dec()
            self._record(scope, exchange, seconds=time.perf_counter() - start)

    def _check_key(self, scope: Scope) -> None:
        if scope["path"] in _OPEN or self._served.keys.allow(Headers(scope=scope).get("authorization")):
            return
        message = "the API key is missing or not one of this server's; send it as Authorization: Bearer KEY"
        raise ApiProblem(401, message, code="invalid_api_key")

    def _record(self, scope: Scope, exchange: _Exchange, *, seconds: float) -> None:
        path = scope["path"] if scope["path"] in _PATHS else "other"
        asked: Asked = scope["asked"]
        measures = self._served.measures
        measures.requests.labels(path, str(exchange.status)).inc()
        measures.seconds.labels(path).observe(seconds)
        if exchange.status == _GONE:
            measures.disconnected.inc()
        if exchange.status == 200 and asked.model is not None and asked.tokens is not None:
            measures.tokens.labels(asked.model).inc(asked.tokens)
            measures.request_tokens.labels(asked.model).observe(asked.tokens)
            measures.truncated.labels(asked.model).inc(asked.truncated or 0)
        if path in _QUIET and exchange.status == 200:
            return
        log_event(
            "request",
            id=exchange.request_id,
            method=scope["method"],
            path=path,
            status=exchange.status,
            seconds=round(seconds, 4),
            code=exchange.code,
            model=asked.model,
            texts=asked.texts,
            tokens=asked.tokens,
            truncated=asked.truncated or None,
        )


class _Exchange:
    """One request's answer as it is sent."""

    def __init__(self, send: Send, *, request_id: str) -> None:
        self.request_id = request_id
        self.status = 0
        self.code: str | None = None
        self._send = send

    async def send(self, message: Message) -> None:
        """Send a part of the answer, the request's id with the first."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.request_id
        await self._send(message)

    async def answer_error(self, error: Exception, scope: Scope, receive: Receive) -> None:
        """Answer an error, and log one that was not raised on purpose."""
        problem = problem_of(error)
        self.code = problem.code
        if problem.status >= 500:
            log_event("error", level=logging.ERROR, error=error, id=self.request_id, code=problem.code)
        if not self.status:
            await answer_of(problem)(scope, receive, self.send)
