"""An encoder whose model runs on an OpenAI-compatible server with /v1/embeddings (vLLM, TEI, Infinity)."""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from reasonembed_rag.encoder.batching import distinct
from reasonembed_rag.encoder.coalescer import Coalescer
from reasonembed_rag.encoder.progress import progress_bar
from reasonembed_rag.encoder.remote_client import CLOSED, EmbeddingsClient, RemoteSettings
from reasonembed_rag.encoder.splitting import splitter_by_tokenizer
from reasonembed_rag.encoder.truncation import report_truncation, report_unknown
from reasonembed_rag.errors import BackendError, InputError, OutageError, SpecMismatchError
from reasonembed_rag.files import check_texts
from reasonembed_rag.forks import ForkLock, renew_in_child
from reasonembed_rag.tasks import query_affixes

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from reasonembed_rag.backbone import TextTokenizer, Tokens
    from reasonembed_rag.passages import PassageSplitter
    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["RemoteEncoder"]


@dataclasses.dataclass(frozen=True, slots=True)
class _TextFormat:
    """Prefix, suffix and maximum length of a text; async calls with the same format share requests."""

    affixes: tuple[str, str]
    max_length: int


class RemoteEncoder:
    """Turn queries and documents into vectors on a server; templates and lengths are applied on this side.

    spec describes the server's model: templates, dimension, lengths, normalisation; its vectors are truncated and
    normalised accordingly. With a tokenizer (a folder or a hub id) texts are truncated here; without one the server's
    own limit applies. Threads may share a remote encoder. The key is part of no repr, spec or error.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        spec: EmbeddingSpec,
        *,
        api_key: str | None = None,
        api_key_env: str | None = None,
        tokenizer: str | None = None,
        settings: RemoteSettings | None = None,
    ) -> None:
        """Describe a server; nothing is sent or loaded before the first call.

        base_url is the same as for OpenAI's clients, such as http://localhost:8000/v1; api_key_env names the
        environment variable that holds the key. Raises InputError for settings that contradict each other or the spec.
        """
        self._settings = settings or RemoteSettings()
        self._spec = spec
        self._tokenizer_name = tokenizer
        self._sends_tokens = _sends_tokens(self._settings, spec, tokenizer)
        self._width = self._settings.server_dimension or spec.dimension
        if self._width < spec.dimension:
            raise InputError(f"server_dimension is {self._width}; want at least the spec's {spec.dimension}")
        self._key_name = api_key_env
        key = _key(api_key, api_key_env)
        space = None if spec.weights is None else dataclasses.replace(spec, dimension=self._width).space()
        self._client = EmbeddingsClient(base_url, model, api_key=key, settings=self._settings, space=space)
        self._coalescer = Coalescer(
            self._run_joined,
            max_texts=self._settings.batch_size * self._settings.concurrency,
            outages=(OutageError, SpecMismatchError),
        )
        self._tokenizer: TextTokenizer | None = None
        self._closed = False
        self._lock = ForkLock()
        self.renew_after_fork()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Replace the threads, which a forked child does not have."""
        self._requests = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="reasonembed-remote")
        if self._closed:
            self._requests.shutdown()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all but the key, which is read from api_key_env, by default REASONEMBED_API_KEY, once more."""
        named: dict[str, Any] = {
            "tokenizer": self._tokenizer_name,
            "settings": self._settings,
            "api_key_env": self._key_name,
        }
        if self._key_name is None:
            named["api_key"] = self._client.api_key
        return functools.partial(RemoteEncoder, **named), (self._client.base_url, self._client.model, self._spec)

    def __repr__(self) -> str:
        return f"RemoteEncoder({self._client.base_url!r}, {self._client.model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def spec(self) -> EmbeddingSpec:
        """The settings that determine the vectors."""
        return self._spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._spec.dimension

    def passage_splitter(self, *, tokens: int | None = None, overlap: int = 0) -> PassageSplitter:
        """Return a splitter into passages that the server reads whole; without a tokenizer tokens are estimated."""
        tokenizer = None if self._tokenizer_name is None else self._loaded_tokenizer(self._tokenizer_name)
        return splitter_by_tokenizer(tokenizer, self._spec, tokens=tokens, overlap=overlap)

    def encode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, in input order; (dimension,) for a single string.

        Raises InputError for texts and instructions that cannot be sent, BackendError where the server refuses them,
        does not answer, or does not answer with vectors of this dimension.
        """
        text_format = self._query_form(task, instruction)
        queries = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=False)
        vectors = self._encode(queries, text_format, show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    def encode_documents(self, texts: str | Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, in input order; (dimension,) for a single string."""
        documents = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=True)
        vectors = self._encode(documents, self._document_form(), show_progress=show_progress)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_queries(
        self, texts: str | Sequence[str], *, task: str | None = None, instruction: str | None = None
    ) -> NDArray[np.float32]:
        """Return what encode_queries returns, without blocking the event loop; concurrent calls share requests."""
        text_format = self._query_form(task, instruction)
        queries = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=False)
        vectors = await self._coalescer.encode(queries, text_format)
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    async def aencode_documents(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Return what encode_documents returns, without blocking the event loop; concurrent calls share requests."""
        documents = check_texts([texts] if isinstance(texts, str) else texts, kind="texts", allow_empty=True)
        vectors = await self._coalescer.encode(documents, self._document_form())
        return vectors.squeeze(0) if isinstance(texts, str) else vectors

    def close(self) -> None:
        """Close the connections and stop the threads; later calls raise BackendError."""
        self._closed = True
        self._coalescer.close()
        self._requests.shutdown(cancel_futures=True)
        self._client.close()

    def _query_form(self, task: str | None, instruction: str | None) -> _TextFormat:
        return _TextFormat(query_affixes(self._spec, task=task, instruction=instruction), self._spec.max_query_length)

    def _document_form(self) -> _TextFormat:
        return _TextFormat(self._spec.document_affixes(), self._spec.max_document_length)

    def _run_joined(self, texts: list[str], key: Hashable) -> NDArray[np.float32]:
        if not isinstance(key, _TextFormat):
            raise TypeError(f"want _TextFormat, got {type(key).__name__}")
        return self._encode(texts, key, show_progress=False)

    def _encode(self, texts: list[str], text_format: _TextFormat, *, show_progress: bool) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        unique = distinct(texts)
        inputs = self._inputs([texts[row] for row in unique.first], text_format)
        vectors = np.empty((len(inputs), self.dimension), dtype=np.float32)
        with progress_bar(total=len(inputs), unit="texts", show=show_progress) as advance:
            for start, part in self._parts(inputs):
                vectors[start : start + len(part)] = part
                advance(len(part))
        return vectors[unique.inverse]

    def _parts(self, inputs: _Inputs) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the vectors of each request with their start, as they arrive; after an error nothing more is sent."""
        stop = threading.Event()
        starts: dict[Future[NDArray[np.float32]], int] = {}
        finished: SimpleQueue[Future[NDArray[np.float32]]] = SimpleQueue()
        try:
            for start in range(0, len(inputs), self._settings.batch_size):
                starts[self._submit(inputs, start, stop)] = start
            for future in starts:
                future.add_done_callback(finished.put)  # as_completed would miss those that close() cancels
            for _ in starts:
                done = finished.get()
                yield starts[done], done.result()
        except CancelledError as error:
            raise BackendError(CLOSED) from error
        finally:
            stop.set()
            for future in starts:
                future.cancel()

    def _submit(self, inputs: _Inputs, start: int, stop: threading.Event) -> Future[NDArray[np.float32]]:
        try:
            return self._requests.submit(self._batch, inputs, start, stop)
        except RuntimeError as error:  # the pool is shut down
            raise BackendError(CLOSED) from error

    def _batch(self, inputs: _Inputs, start: int, stop: threading.Event) -> NDArray[np.float32]:
        vectors = self._client.embed(inputs.part(start, start + self._settings.batch_size), stop=stop)
        if vectors.shape[1] != self._width:
            raise OutageError(
                f"{self._client.base_url} gives vectors of dimension {vectors.shape[1]}, want {self._width}: its model "
                "is not the spec's; if the spec keeps only the first numbers (Matryoshka), set "
                f"RemoteSettings(server_dimension={vectors.shape[1]})"
            )
        vectors = vectors[:, : self.dimension]
        if self._spec.normalize:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _inputs(self, texts: list[str], text_format: _TextFormat) -> _Inputs:
        before, after = text_format.affixes
        if self._tokenizer_name is None:
            return _Texts(texts, before, after)
        tokenizer = self._loaded_tokenizer(self._tokenizer_name)
        tokens = tokenizer(texts, before=before, after=after, max_length=text_format.max_length)
        report_truncation(tokens.truncated, max_length=text_format.max_length, tokens=tokens.unread)
        report_unknown(tokens.unknown)
        if self._sends_tokens:
            return _Ids(tokens)
        kept = list(texts)
        for index in np.flatnonzero(tokens.lengths >= text_format.max_length).tolist():
            kept[index] = tokenizer.truncate(kept[index], before=before, after=after, max_length=text_format.max_length)
        return _Texts(kept, before, after)

    def _loaded_tokenizer(self, name: str) -> TextTokenizer:
        with self._lock:
            if self._tokenizer is None:
                from reasonembed_rag.backbone import load_tokenizer

                self._tokenizer = load_tokenizer(name, append_eos=self._spec.append_eos)
            return self._tokenizer


class _Texts:
    """Texts to send with prefix and suffix."""

    def __init__(self, texts: list[str], before: str, after: str) -> None:
        if not before and not after and "" in texts:
            raise InputError(
                "one of the texts is empty, which servers refuse; leave it out, or pass tokenizer=... to send token ids"
            )
        self._texts, self._before, self._after = texts, before, after

    def __len__(self) -> int:
        return len(self._texts)

    def part(self, start: int, stop: int) -> list[str]:
        """Return the texts of one request."""
        return [f"{self._before}{text}{self._after}" for text in self._texts[start:stop]]


class _Ids:
    """Token ids to send, converted to lists one request at a time."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __len__(self) -> int:
        return len(self._tokens.lengths)

    def part(self, start: int, stop: int) -> list[list[int]]:
        """Return the token ids of one request."""
        return [ids.tolist() for ids in self._tokens.rows(np.arange(start, min(stop, len(self))))]


_Inputs = _Texts | _Ids


def _sends_tokens(settings: RemoteSettings, spec: EmbeddingSpec, tokenizer: str | None) -> bool:
    send = settings.send or ("text" if tokenizer is None else "tokens")
    if send == "tokens" and tokenizer is None:
        raise InputError("send is 'tokens', but there is no tokenizer; want tokenizer= the model's folder or hub id")
    if send == "text" and spec.append_eos:
        raise InputError(
            "the spec appends EOS, which is impossible with text; want a tokenizer, so that token ids are sent, or "
            "append_eos=False in the spec if the server's own tokenizer appends it"
        )
    return send == "tokens"


def _key(api_key: str | None, api_key_env: str | None) -> str | None:
    if api_key_env is None:
        return api_key
    if api_key is not None:
        raise InputError("got both api_key and api_key_env; want one of them")
    key = os.environ.get(api_key_env)
    if not key:
        raise InputError(
            f"api_key_env is {api_key_env!r}, which is not set in the environment; set it, or pass api_key"
        )
    return key
