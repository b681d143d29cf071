"""Read a request's JSON within limits of size and time, and check it against the form of its endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from reasonembed_rag.errors import want_one_of
from reasonembed_server.limits import Limits
from reasonembed_server.problems import ApiProblem, ClientGoneError

__all__ = ["HeldBytes", "read_form"]

_Form = TypeVar("_Form", bound=BaseModel)
_SHOWN = 60
"""Characters of a wrong value that are shown."""
_LARGE = 1 << 16
"""Bytes of JSON that are parsed in a thread, so that other requests do not wait."""


class HeldBytes:
    """The bytes of all requests that are being read or answered, and their limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @contextmanager
    def account(self) -> Iterator[_Account]:
        """Return an account of one request, cleared at the end of the block."""
        account = _Account(self)
        try:
            yield account
        finally:
            self._held -= account.bytes

    def add(self, count: int) -> None:
        """Count bytes; raises ApiProblem where there are too many already."""
        if self._held + count > self._limit:
            raise ApiProblem(
                429,
                f"the requests in progress hold {self._held} bytes, at most {self._limit} are held; try again later",
                code="server_full",
                retry_after_s=1,
            )
        self._held += count


class _Account:
    def __init__(self, held: HeldBytes) -> None:
        self._held = held
        self.bytes = 0

    def add(self, count: int) -> None:
        self._held.add(count)
        self.bytes += count


async def read_form(request: Request, form: type[_Form], limits: Limits, account: _Account) -> _Form:
    """Return a request's body as the form; raises ApiProblem for one that is too large, too slow or not the form."""
    try:
        async with asyncio.timeout(limits.body_s):
            body = await _body(request, limits.body_bytes, account)
    except TimeoutError as error:
        raise ApiProblem(
            408, f"the request did not arrive within {limits.body_s:g} s; send it faster", code="slow_request"
        ) from error
    if len(body) > _LARGE:
        return await asyncio.to_thread(_parsed, body, form)
    return _parsed(body, form)


async def _body(request: Request, limit: int, account: _Account) -> bytes:
    """Read a body; more than the limit is not read, whatever Content-Length says."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(f"{int(declared)} bytes", limit)
    parts, size = [], 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise _too_large(f"more than {limit} bytes", limit)
            account.add(len(part))
            parts.append(part)
    except ClientDisconnect as error:
        raise ClientGoneError from error
    return b"".join(parts)


def _too_large(got: str, limit: int) -> ApiProblem:
    message = f"the request has {got}, want at most {limit}; send the texts in several requests"
    return ApiProblem(413, message, code="request_too_large")


def _parsed(body: bytes, form: type[_Form]) -> _Form:
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise
    except UnicodeDecodeError as error:
        raise ApiProblem(
            400, f"the body is not UTF-8 at byte {error.start}; encode it as UTF-8", code="bad_utf8"
        ) from error
    except ValueError as error:
        raise ApiProblem(400, f"the body is not JSON ({error}); want a JSON object", code="bad_json") from error
    if not isinstance(value, dict):
        raise ApiProblem(400, f"the body is a JSON {_kind(value)}; want an object", code="bad_json")
    try:
        return form.model_validate(value)
    except ValidationError as error:
        raise _wrong_field(error, form) from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _wrong_field(error: ValidationError, form: type[BaseModel]) -> ApiProblem:
    """Return what is wrong with the first field that is; unknown ones first, as a misspelt field is missing too."""
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        hint = want_one_of(name, form.model_fields)
        return ApiProblem(400, f"unknown field {name!r}; {hint}", code="unknown_field", param=name)
    if first["type"] == "missing":
        return ApiProblem(
            400, f"{name!r} is missing; want {', '.join(_required(form))}", code="missing_field", param=name
        )
    message = first["msg"].removeprefix("Value error, ")
    got = f"{name} is {_shown(first['input'])}; " if first["type"] != "value_error" else ""
    wanted = f"{message[0].lower()}{message[1:]}".removeprefix("input should be ")
    wanted = wanted if first["type"] == "value_error" else f"want {wanted}"
    return ApiProblem(400, f"{got}{wanted}", code="invalid_value", param=name)


def _required(form: type[BaseModel]) -> list[str]:
    return [name for name, field in form.model_fields.items() if field.is_required()]


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | None) else _kind(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _kind(value: Any) -> str:
    kinds = {list: "list", dict: "object", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")
