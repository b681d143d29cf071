"""A server's /embeddings in the OpenAI protocol: inputs in, vectors out, tried again where that can help."""

from __future__ import annotations

import base64
import binascii
import random
import threading
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np

from reasonembed_rag.errors import BackendError, InputError

if TYPE_CHECKING:
    import httpx
    from numpy.typing import NDArray

__all__ = ["CLOSED", "Endpoint", "OutageError", "RemoteSettings"]

_PASSING = {408, 409, 425, 429}
"""Refusals that a later try may not meet, beside the server's own failures (5xx)."""
_OF_TEXTS = {400, 413, 422}
"""Refusals that a text may have caused."""
_FIRST_PAUSE_S = 0.5

CLOSED = "the remote encoder is closed; make a new one"


class OutageError(BackendError):
    """A failure that no text can have caused: the server stays away, or refuses the key or the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """How a server is asked."""

    batch_size: int = 32
    """Texts a request: what Text Embeddings Inference takes at most as it comes."""
    concurrency: int = 8
    """Requests under way at a time, over all callers."""
    timeout_s: float = 60.0
    """Seconds to wait for a connection, and for each part of an answer."""
    retries: int = 5
    longest_pause_s: float = 60.0
    """Between two tries; a server that asks for a longer one is an error."""
    encoding: Literal["base64", "float"] = "base64"
    """How to ask for vectors; answers are read in either."""
    send: Literal["tokens", "text"] | None = None
    """Token ids are exact; vLLM, TEI and OpenAI take them, Infinity takes text alone. None: ids with a tokenizer."""
    server_dimension: int | None = None
    """What the server's vectors are long, where the spec keeps only their first numbers (Matryoshka)."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("concurrency", 1), ("retries", 0), ("longest_pause_s", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; want at least {least}")
        if self.timeout_s <= 0:
            raise InputError(f"timeout_s is {self.timeout_s}; want more than 0 seconds")
        for name, known in (("encoding", ("base64", "float")), ("send", ("tokens", "text", None))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}; want one of {', '.join(map(repr, known))}")


class _Secret:
    """A key that shows in no repr."""

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "'***'"


@dataclass(frozen=True, slots=True)
class _Setback:
    """A try that failed in a way that may pass, and the pause that the server asks for."""

    reason: str
    pause_s: float | None = None


class Endpoint:
    """One server and model. Threads may share it; it connects at the first request."""

    def __init__(self, base_url: str, model: str, *, api_key: str | None, settings: RemoteSettings) -> None:
        self.base_url = _checked_url(base_url)
        self.model = model
        self._url = f"{self.base_url}/embeddings"
        self._key = None if api_key is None else _Secret(_checked_key(api_key))
        self._settings = settings
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._closed = False

    def embed(self, inputs: list[str] | list[list[int]], *, stop: threading.Event) -> NDArray[np.float32]:
        """Return the server's vectors (len(inputs), its dimension) in the order of the inputs, as it gives them.

        `stop` ends a pause between two tries. Raises OutageError where the server stays away or refuses key or model,
        BackendError where it refuses these inputs or answers something else than vectors.
        """
        body = {"model": self.model, "input": inputs, "encoding_format": self._settings.encoding}
        tries = self._settings.retries + 1
        reason = ""
        for number in range(tries):
            outcome = self._try(body)
            if not isinstance(outcome, _Setback):
                return _vectors(_json(outcome, self._url), count=len(inputs), url=self._url)
            reason = outcome.reason
            if number + 1 < tries and stop.wait(self._pause_s(number, outcome)):
                raise OutageError(
                    f"{self._url}: given up before try {number + 2}, as another request of the call failed"
                )
        raise OutageError(f"{self._url} failed {tries} times, at last with {reason}; check that the server is up")

    def close(self) -> None:
        """Close the connections; later requests raise BackendError."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _try(self, body: dict[str, Any]) -> httpx.Response | _Setback:
        import httpx

        try:
            response = self._connected().post(self._url, json=body)
        except httpx.TimeoutException as error:
            return _Setback(f"no answer within {self._settings.timeout_s:g} s ({type(error).__name__})")
        except (httpx.HTTPError, RuntimeError) as error:
            if self._closed:  # by another thread: httpx says so in a RuntimeError
                raise BackendError(CLOSED) from error
            if isinstance(error, httpx.TransportError):
                return _Setback(f"{type(error).__name__}: {error}")
            raise BackendError(f"{self._url} gave no readable answer ({type(error).__name__}: {error})") from error
        except httpx.InvalidURL as error:
            raise InputError(f"base_url is {self.base_url!r}, which is no address: {error}") from error
        if response.is_success:
            return response
        said = f"status {response.status_code}: {self._message(response)}"
        if response.status_code in _PASSING or response.status_code >= 500:
            return _Setback(said, _retry_after_s(response))
        kind = BackendError if response.status_code in _OF_TEXTS else OutageError
        raise kind(f"{self._url} refuses the request ({said}); check the model's name, the key and the texts")

    def _connected(self) -> httpx.Client:
        import httpx

        with self._lock:
            if self._closed:
                raise BackendError(CLOSED)
            if self._client is None:
                self._client = httpx.Client(
                    timeout=self._settings.timeout_s,
                    headers={} if self._key is None else {"Authorization": f"Bearer {self._key.value}"},
                    limits=httpx.Limits(max_connections=self._settings.concurrency),
                )
            return self._client

    def _pause_s(self, number: int, setback: _Setback) -> float:
        """Return how long to wait after a try: what the server asks for, or twice as long as last time, with jitter."""
        longest = self._settings.longest_pause_s
        jitter: float = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        if setback.pause_s is None:
            return float(min(longest, _FIRST_PAUSE_S * 2**number)) * jitter
        if setback.pause_s > longest:
            raise OutageError(
                f"{self._url} asks for a pause of {setback.pause_s:.0f} s ({setback.reason}); "
                f"try again later, or raise longest_pause_s, which is {longest:g}"
            )
        return setback.pause_s + _FIRST_PAUSE_S * jitter

    def _message(self, response: httpx.Response) -> str:
        """Return what the server says of an error, in any of the forms in use, without the key."""
        try:
            said = response.json()
        except ValueError:
            said = response.text
        for name in ("error", "message", "detail"):
            if isinstance(said, dict) and name in said:
                said = said[name]
        text = str(said)[:300]
        return text if self._key is None else text.replace(self._key.value, "***")


def _checked_url(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InputError(f"base_url is {base_url!r}; want http://host:port/v1 or https://host/v1")
    if parts.username is not None or parts.query or parts.fragment:
        raise InputError("base_url holds a user, a query or a fragment; want a plain address, and the key as api_key")
    return base_url.rstrip("/")


def _checked_key(api_key: str) -> str:
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise InputError("api_key is empty or holds spaces, line ends or letters beyond ASCII; want the bare key")
    return api_key


def _json(response: httpx.Response, url: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise BackendError(
            f"{url} answered {response.text[:80]!r}; want JSON: is it an embeddings endpoint?"
        ) from error


def _retry_after_s(response: httpx.Response) -> float | None:
    """Return the seconds that the header asks for, given as a number or as a date."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _vectors(answer: Any, *, count: int, url: str) -> NDArray[np.float32]:
    """Return the vectors of an answer by their index, whatever order and encoding the server chose."""
    try:
        by_index = {row["index"]: _vector(row["embedding"]) for row in answer["data"]}
        if len(answer["data"]) != count or set(by_index) != set(range(count)):
            raise BackendError(
                f"{url} gave {len(answer['data'])} vectors, numbered {sorted(by_index)[:8]}, to {count} texts; "
                "want one a text, numbered from 0"
            )
        vectors = np.stack([by_index[index] for index in range(count)])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BackendError(f"{url} gave no list of embeddings ({error!r}); is it an embeddings endpoint?") from error
    if not np.isfinite(vectors).all():
        raise BackendError(f"{url} gave vectors that are not finite; check the server's model and number format")
    return vectors


def _vector(value: Any) -> NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4")
    vector = np.asarray(value, dtype=np.float32)
    if vector.ndim != 1:
        raise ValueError(f"an embedding of shape {vector.shape}")
    return vector
