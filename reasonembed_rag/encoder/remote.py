"""The encoder's remote twin: the same protocol over an OpenAI-compatible /v1/embeddings (vLLM, TEI, Infinity)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reasonembed_rag.encoder.batches import distinct
from reasonembed_rag.encoder.progress import progress_bar
from reasonembed_rag.encoder.tokens import check_texts
from reasonembed_rag.errors import BackendError, InputError
from reasonembed_rag.tasks import get_task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import httpx
    from numpy.typing import NDArray

    from reasonembed_rag.encoder.tokens import TextTokenizer
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["RemoteEncoder"]

_TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class RemoteEncoder:
    """Turn queries and documents into vectors on a server, with templates and lengths applied here.

    spec says what the server's model is: template, dimension, lengths, normalisation. With a tokenizer (a folder or hub
    id) texts are cut here and sent as token ids, which vLLM and OpenAI's own server take; without one they are sent as
    text, and the server cuts them as it is set up to. Threads may share a remote encoder. The key is in no repr, spec
    or error.
    """

    def __init__(  # noqa: PLR0913 - a server has many settings
        self,
        base_url: str,
        model: str,
        spec: EmbeddingSpec,
        *,
        api_key: str | None = None,
        tokenizer: str | None = None,
        batch_size: int = 64,
        concurrency: int = 8,
        timeout_s: float = 60.0,
        retries: int = 5,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise InputError(f"base_url is {base_url!r}; want http://host:port/v1 or https://...")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
        ):
            if value < least:
                raise InputError(f"{name} is {value}; want at least {least}")
        self.base_url = base_url.rstrip("/")
        self.model = model
        self._spec = spec
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._tokenizer_name = tokenizer
        self._tokenizer: TextTokenizer | None = None
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._retries = retries
        self._client: httpx.Client | None = None
        self._waiting: ThreadPoolExecutor | None = None
        """Threads in which async callers' calls wait for the server."""

    def __repr__(self) -> str:
        return f"RemoteEncoder({self.base_url!r}, {self.model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors."""
        return self._spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._spec.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order.

        Raises InputError for texts that are none, BackendError where the server refuses or stays away.
        """
        checked = check_texts(texts, kind="texts", allow_empty=False)
        return self._encode(checked, *self._query_form(task, instruction), show_progress=show_progress)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order; raises as encode_queries does."""
        checked = check_texts(texts, kind="texts", allow_empty=True)
        affixes = self._spec.document_affixes()
        return self._encode(checked, affixes, self._spec.max_document_length, show_progress=show_progress)

    async def aencode_queries(
        self, texts: Sequence[str], *, task: str | None = None, instruction: str | None = None
    ) -> NDArray[np.float32]:
        """Return what encode_queries returns, without blocking the event loop."""
        return await self._off_loop(lambda: self.encode_queries(texts, task=task, instruction=instruction))

    async def aencode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return what encode_documents returns, without blocking the event loop."""
        return await self._off_loop(lambda: self.encode_documents(texts))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._waiting is not None:
            self._waiting.shutdown()
            self._waiting = None

    async def _off_loop(self, call: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
        if self._waiting is None:
            self._waiting = ThreadPoolExecutor(self._concurrency, thread_name_prefix="reasonembed-remote")
        return await asyncio.get_running_loop().run_in_executor(self._waiting, call)

    def _query_form(self, task: str | None, instruction: str | None) -> tuple[tuple[str, str], int]:
        if task is not None and instruction is not None:
            raise InputError("got both task and instruction; want one of them")
        if instruction is not None and not self._spec.takes_instruction:
            raise InputError(f"{self.model} takes no instruction: its query template is bare; leave it out")
        words = get_task(task).instruction if task is not None else instruction
        return self._spec.query_affixes(words), self._spec.max_query_length

    def _encode(
        self, texts: list[str], affixes: tuple[str, str], max_length: int, *, show_progress: bool
    ) -> NDArray[np.float32]:
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return vectors
        unique = distinct(texts)
        inputs = self._inputs([texts[row] for row in unique.first], affixes, max_length)
        starts = range(0, len(inputs), self._batch_size)
        with (
            ThreadPoolExecutor(min(self._concurrency, len(starts)), thread_name_prefix="reasonembed-remote") as pool,
            progress_bar(total=len(inputs), unit="texts", show=show_progress) as advance,
        ):
            batches = [inputs[start : start + self._batch_size] for start in starts]
            done = np.empty((len(inputs), self.dimension), dtype=np.float32)
            for start, part in zip(starts, pool.map(self._batch, batches), strict=True):
                done[start : start + len(part)] = part
                advance(len(part))
        return done[unique.inverse]

    def _inputs(self, texts: list[str], affixes: tuple[str, str], max_length: int) -> list[Any]:
        before, after = affixes
        if self._tokenizer_name is None:
            return [f"{before}{text}{after}" for text in texts]
        if self._tokenizer is None:
            from reasonembed_rag.encoder.loading import load_tokenizer

            self._tokenizer = load_tokenizer(self._tokenizer_name, append_eos=self._spec.append_eos)
        tokens = self._tokenizer(texts, before=before, after=after, max_length=max_length)
        return [ids.tolist() for ids in tokens.rows(np.arange(len(texts)))]

    def _batch(self, inputs: list[Any]) -> NDArray[np.float32]:
        answer = self._post({"model": self.model, "input": inputs, "encoding_format": "base64"})
        vectors = _vectors(answer, count=len(inputs))
        if vectors.shape[1] < self.dimension:
            raise BackendError(
                f"{self.base_url} gave vectors of {vectors.shape[1]} numbers, the spec says {self.dimension}; "
                "the server runs another model than the spec describes"
            )
        vectors = vectors[:, : self.dimension]
        if not np.isfinite(vectors).all():
            raise BackendError(f"{self.base_url} gave vectors that are not finite; check the server's model and dtype")
        if self._spec.normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors.astype(np.float32)

    def _post(self, body: dict[str, Any]) -> Any:
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout_s, headers=self._headers)
        url, reason, pause = f"{self.base_url}/embeddings", "", 0.0
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(pause)
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            try:
                response = self._client.post(url, json=body)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
                continue
            if response.is_success:
                return _json(response, url)
            reason = f"status {response.status_code}: {_message(response)}"
            if response.status_code not in _TRANSIENT:
                raise BackendError(
                    f"{url} refused the request ({reason}); check the model's name, the key and the texts"
                )
            pause = max(pause, _retry_after(response))
        raise BackendError(
            f"{url} failed {self._retries + 1} times, the last with {reason}; check that the server is up"
        )


def _json(response: httpx.Response, url: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise BackendError(
            f"{url} answered {response.text[:80]!r}; want JSON: is it an embeddings endpoint?"
        ) from error


def _message(response: httpx.Response) -> str:
    try:
        said = response.json()
        said = said.get("error", said) if isinstance(said, dict) else said
        return str(said.get("message", said) if isinstance(said, dict) else said)[:300]
    except ValueError:
        return response.text[:300]


def _retry_after(response: httpx.Response) -> float:
    try:
        return min(_LONGEST_PAUSE_S, max(0.0, float(response.headers.get("retry-after", "0"))))
    except ValueError:
        return 0.0


def _vectors(answer: Any, *, count: int) -> NDArray[np.float32]:
    """Return the vectors of an answer in the order of the request, whatever order and encoding the server chose."""
    try:
        rows = sorted(answer["data"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(count)):
            raise BackendError(f"the server answered {len(rows)} vectors to {count} texts; want one a text")
        return np.stack([_vector(row["embedding"]) for row in rows])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise BackendError(f"the server's answer is no list of embeddings ({error!r}); check its API") from error


def _vector(value: Any) -> NDArray[np.float32]:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    return np.asarray(value, dtype=np.float32)
