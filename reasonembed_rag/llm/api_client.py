"""The HTTP client of one OpenAI-compatible server: JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.forks import renew_in_child
from reasonembed_rag.llm.retry import seconds_of

if TYPE_CHECKING:
    import httpx

__all__ = ["ApiClient"]

_MAX_MESSAGE = 500


class ApiClient:
    """POST JSON to paths under base_url; threads may share a client and its connections, which are kept alive.

    It connects at the first request, through the proxies that httpx finds in the environment. The key is part of no
    repr and masked in the server's messages. `transport` replaces the network, such as httpx.MockTransport in tests.
    Raises InputError for a base_url or key that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 300.0,
        max_connections: int | None = None,
        transport: httpx.BaseTransport | httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base_url = _checked_url(base_url)
        self.timeout = timeout
        self._key = None if api_key is None else _Secret(_checked_key(api_key))
        self._max_connections = max_connections
        self._transport = transport
        self._closed = False
        self._client: httpx.Client | None = None
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._inherited: list[object] = []
        """A parent's clients, in a forked child: to close them there would end the parent's TLS connections."""
        self._lock = threading.Lock()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Connect anew in a forked child: two processes on one connection would mix their answers."""
        self._inherited += [self._client, *self._async_clients.values()]
        self._client, self._async_clients = None, WeakKeyDictionary()
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ApiClient({self.base_url!r})"

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._closed

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Return the body of the reply to a POST of base_url/path; nothing is retried here.

        Raises ChatError where no whole reply comes or the server refuses; then with its status and Retry-After.
        """
        with self._errors():
            response = self._connected().post(f"{self.base_url}/{path}", content=_encoded(body), headers=_JSON)
        return self._content(response)

    async def apost(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Return what post returns, without blocking the event loop."""
        with self._errors():
            client = self._connected_async()
            response = await client.post(f"{self.base_url}/{path}", content=_encoded(body), headers=_JSON)
        return self._content(response)

    def close(self) -> None:
        """Close the connections of `post`; later calls raise ChatError."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of `post` and those that `apost` has opened in this event loop."""
        self.close()
        client = self._async_clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    def _connected(self) -> httpx.Client:
        import httpx

        with self._lock:
            self._check_open()
            if self._client is None:
                self._client = httpx.Client(**self._options())
            return self._client

    def _connected_async(self) -> httpx.AsyncClient:
        import httpx

        self._check_open()
        loop = asyncio.get_running_loop()
        with self._lock:
            client = self._async_clients.get(loop)
            if client is None:  # connections belong to the event loop that opened them
                client = self._async_clients[loop] = httpx.AsyncClient(**self._options())
            return client

    def _options(self) -> dict[str, Any]:
        import httpx

        return {
            "timeout": self.timeout,
            "headers": {} if self._key is None else {"Authorization": f"Bearer {self._key.value}"},
            "limits": httpx.Limits(max_connections=self._max_connections),
            "transport": self._transport,
        }

    def _check_open(self) -> None:
        if self._closed:
            raise ChatError(f"the client of {self.base_url} is closed; make a new one")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Translate httpx's exceptions to ours."""
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            reason = f"no answer within {self.timeout:g} s ({type(error).__name__})"
            raise ChatError(f"{self.base_url}: {reason}") from error
        except httpx.HTTPError as error:
            raise ChatError(f"{self.base_url}: {type(error).__name__}: {error}") from error
        except httpx.InvalidURL as error:
            raise InputError(f"base_url is {self.base_url!r}, which is not a URL: {error}") from error
        except RuntimeError as error:
            self._check_open()  # another thread has closed it, which httpx reports by a RuntimeError
            raise ChatError(f"{self.base_url}: {error}") from error

    def _content(self, response: httpx.Response) -> bytes:
        if response.is_success:
            return response.content
        message = _message(response.content)
        if self._key is not None:
            message = message.replace(self._key.value, "***")
        raise ChatError(
            f"HTTP {response.status_code} from {self.base_url}: {message}",
            status_code=response.status_code,
            retry_after=seconds_of(response.headers.get("Retry-After")),
        )


_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class _Secret:
    """A key that appears in no repr."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "'***'"


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _checked_url(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"base_url is {base_url!r}; want a URL such as http://localhost:8000/v1 or https://host/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise InputError("base_url has a user, a query or a fragment; want a plain URL, and the key as api_key")
    return base_url.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise InputError("api_key is empty or has spaces, line breaks or characters beyond ASCII; want the bare key")
    return api_key


def _message(content: bytes) -> str:
    """Return a server's error message, in any of the JSON forms in use, else the beginning of the text."""
    try:
        found = json.loads(content)
    except ValueError:
        return content.decode(errors="replace")[:_MAX_MESSAGE] or "no message"
    code = None
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            code = found.get("code") or code
            found = found[name]
    return f"{found}{f' ({code})' if code else ''}"[:_MAX_MESSAGE]
