"""The client of a server's /embeddings in the OpenAI protocol: inputs in, vectors out, retried by llm's policy."""

from __future__ import annotations

import base64
import binascii
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reasonembed_rag.api_key import ApiKey
from reasonembed_rag.errors import BackendError, ChatError, InputError, OutageError, SpecMismatchError, want_one_of
from reasonembed_rag.llm import ApiClient, RetryPolicy, failure_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CLOSED", "EmbeddingsClient", "RemoteSettings"]

_FIRST_WAIT_S = 0.5

CLOSED = "the remote encoder is closed; make a new one"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """How requests are sent to an embeddings server; raises InputError for values that cannot be used."""

    batch_size: int = 32
    """Texts per request; 32 is the default maximum of Text Embeddings Inference."""
    concurrency: int = 8
    """Requests in flight at once, over all callers."""
    timeout_s: float = 60.0
    """Seconds to wait for a connection, and for each part of an answer."""
    retries: int = 5
    longest_pause_s: float = 60.0
    """Longest wait between two attempts; a server that asks for a longer one (Retry-After) is an error."""
    encoding: Literal["base64", "float"] = "base64"
    """The requested encoding of vectors; answers are read in either."""
    send: Literal["tokens", "text"] | None = None
    """Token ids are exact; vLLM, TEI and OpenAI take them, Infinity takes text only. None: ids if there is a
    tokenizer."""
    server_dimension: int | None = None
    """Dimension of the server's vectors if the spec keeps only their first numbers (Matryoshka)."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("concurrency", 1), ("retries", 0), ("longest_pause_s", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; want at least {least}")
        if self.timeout_s <= 0:
            raise InputError(f"timeout_s is {self.timeout_s}; want more than 0 seconds")
        for name, known in (("encoding", ("base64", "float")), ("send", ("tokens", "text", None))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}; {want_one_of(getattr(self, name), known)}")


class EmbeddingsClient:
    """One server and model. Threads may share a client; it connects at the first request."""

    def __init__(
        self, base_url: str, model: str, *, api_key: str | None, settings: RemoteSettings, space: str | None = None
    ) -> None:
        """Describe a server; space is what its vectors must be of, where it says so: reasonembed's own does."""
        self.model = model
        self._space = space
        self.api_key = None if api_key is None else ApiKey(api_key)
        self._encoding = settings.encoding
        self._api = ApiClient(
            base_url, api_key=api_key, timeout=settings.timeout_s, max_connections=settings.concurrency
        )
        self._retry = RetryPolicy(
            attempts=settings.retries + 1,
            first_wait=min(_FIRST_WAIT_S, settings.longest_pause_s),
            longest_wait=settings.longest_pause_s,
        )

    @property
    def base_url(self) -> str:
        """The server's URL, without a slash at the end."""
        return self._api.base_url

    @property
    def _url(self) -> str:
        return f"{self.base_url}/embeddings"

    def embed(self, inputs: list[str] | list[list[int]], *, stop: threading.Event) -> NDArray[np.float32]:
        """Return the server's vectors (len(inputs), its dimension), in the order of the inputs.

        `stop` ends a wait between two attempts. Raises OutageError where the server stays away or refuses key or model,
        BackendError where it refuses these inputs or gives no list of vectors, SpecMismatchError where it says that its
        vectors are another model's.
        """
        body = {"model": self.model, "input": inputs, "encoding_format": self._encoding}
        attempt = 1
        while True:
            try:
                content = self._api.post("embeddings", body)
            except ChatError as error:
                wait = self._wait_after(error, attempt)
            else:
                answer = _json(content, self._url)
                self._check_space(answer)
                return _vectors(answer, count=len(inputs), url=self._url)
            attempt += 1
            if stop.wait(wait):
                raise OutageError(f"{self._url}: stopped before attempt {attempt}, as another request failed")

    def close(self) -> None:
        """Close the connections; later requests raise BackendError."""
        self._api.close()

    def _check_space(self, answer: Any) -> None:
        got = answer.get("space") if isinstance(answer, dict) else None
        if got is not None and self._space is not None and got != self._space:
            raise SpecMismatchError(
                f"the vectors of {self.model!r} at {self.base_url} are of the space {got}, want {self._space}: another "
                "model, adapter or dimension than the index or the spec was made with; start the server with that "
                "model, or name the one to ask"
            )

    def _wait_after(self, error: ChatError, attempt: int) -> float:
        """Return the seconds to wait before the next attempt; raise the error of the call if there is none."""
        if self._api.closed:  # by another thread
            raise BackendError(CLOSED) from error
        failure = failure_of(error)
        if failure.kind != "retryable":
            kind = BackendError if failure.kind == "permanent" else OutageError
            raise kind(f"{self._url} refuses the request ({error}); check the model, the key and the texts") from error
        if (failure.retry_after or 0.0) > self._retry.longest_wait:
            raise OutageError(
                f"{self._url} asks for a pause of {failure.retry_after:.0f} s ({error}); "
                f"try again later, or raise longest_pause_s, which is {self._retry.longest_wait:g}"
            ) from error
        wait = self._retry.next_wait(attempt, failure)
        if wait is None:
            raise OutageError(
                f"{self._url} failed {attempt} times, the last with {error}; check that the server is up"
            ) from error
        return wait


def _json(content: bytes, url: str) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        got = content[:80].decode(errors="replace")
        raise BackendError(f"{url} answered {got!r}; want JSON: is it an embeddings endpoint?") from error


def _vectors(answer: Any, *, count: int, url: str) -> NDArray[np.float32]:
    """Return the vectors of an answer by index; servers may choose the order and the encoding."""
    try:
        by_index = {row["index"]: _vector(row["embedding"]) for row in answer["data"]}
        if len(answer["data"]) != count or set(by_index) != set(range(count)):
            raise BackendError(
                f"{url} gave {len(answer['data'])} vectors, numbered {sorted(by_index)[:8]}, to {count} texts; "
                "want one per text, numbered from 0"
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
