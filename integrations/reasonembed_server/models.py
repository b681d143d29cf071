"""Models as the server holds them: one queue for each, texts in as tokens, loaded again where they break."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from reasonembed_rag.encoder import Coalescer, Encoder, SharedEncoder
from reasonembed_rag.errors import OutageError, ReasonEmbedError
from reasonembed_rag.rerank import CrossEncoder
from reasonembed_server.logs import log_event
from reasonembed_server.problems import ApiProblem
from reasonembed_server.queueing import BoundedQueue

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["EmbeddingModel", "RerankModel", "RunningModel", "model_record"]

_Result = TypeVar("_Result")
_RETRY_S = 5.0
_RERANK_TOKENS = 4096
"""Tokens of pairs that run at once."""


class RunningModel:
    """An encoder and its queue, shared by the names under which it is served; loaded again where it breaks."""

    def __init__(self, name: str, shared: SharedEncoder, *, queue_tokens: int) -> None:
        """Load the model; raises what loading raises."""
        self.name = name
        self.shared = shared
        self.queue = BoundedQueue(queue_tokens, name=name)
        self.outages = 0
        _ = shared.embedder
        self._reload: asyncio.Task[None] | None = None

    @property
    def encoder(self) -> Encoder:
        """The encoder; raises ApiProblem while it is being loaded again."""
        if not self.is_ready:
            raise self._unavailable()
        return cast("Encoder", self.shared.embedder)

    @property
    def is_ready(self) -> bool:
        """Whether the model can be asked."""
        return self._reload is None

    async def guarded(self, work: Awaitable[_Result]) -> _Result:
        """Return the result of work with the model; where the model breaks, load it again, and raise ApiProblem."""
        try:
            return await work
        except OutageError as error:
            if self._reload is None:
                self.outages += 1
                log_event("model broke", model=self.name, reason=str(error))
                self._reload = asyncio.create_task(self._load_again())
            raise self._unavailable() from error

    async def _load_again(self) -> None:
        """Load the model until that succeeds."""
        while True:
            try:
                await asyncio.to_thread(self._renew)
            except (ReasonEmbedError, OSError) as error:
                log_event("model could not be loaded again", model=self.name, reason=str(error))
                await asyncio.sleep(_RETRY_S)
            else:
                log_event("model loaded again", model=self.name)
                self._reload = None
                return

    def _renew(self) -> None:
        self.shared.release()
        _ = self.shared.embedder

    def _unavailable(self) -> ApiProblem:
        message = f"{self.name} broke and is being loaded again; try again after the time in Retry-After"
        return ApiProblem(503, message, code="model_unavailable", retry_after_s=_RETRY_S)

    async def close(self) -> None:
        """Release the model."""
        if self._reload is not None:
            self._reload.cancel()
        await asyncio.to_thread(self.shared.release)


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model, or one of its adapters, under the name by which requests ask for it; an Embedder for indexes."""

    name: str
    loaded: RunningModel
    adapter: str | None = None

    @property
    def encoder(self) -> Encoder:
        """The encoder with its adapter on; raises ApiProblem while it is being loaded again."""
        return self.loaded.encoder.with_adapter(self.adapter)

    @property
    def spec(self) -> EmbeddingSpec:
        """The settings that determine the vectors."""
        return self.encoder.spec

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self.spec.dimension

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, for a retriever in a thread."""
        encode = self.encoder.encode_queries
        return encode(texts, task=task, instruction=instruction, show_progress=show_progress)

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, for a retriever in a thread."""
        return self.encoder.encode_documents(texts, show_progress=show_progress)


class RerankModel:
    """A cross-encoder whose concurrent requests share forward passes."""

    def __init__(self, name: str, model: str, *, queue_tokens: int) -> None:
        """Load the model; raises what CrossEncoder.from_pretrained raises."""
        self.name = name
        self.cross_encoder = CrossEncoder.from_pretrained(model)
        self.queue = BoundedQueue(queue_tokens, name=name)
        self._coalescer = Coalescer(functools.partial(_scores, self.cross_encoder), cost=len, max_cost=_RERANK_TOKENS)

    async def relevance(self, sequences: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Return the relevance (n,), from 0 to 1, of tokenised pairs."""
        logits = await self._coalescer.encode(sequences, "pairs")
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)

    async def close(self) -> None:
        """Release the model after the requests that it has."""
        await asyncio.to_thread(self._coalescer.close)
        self.cross_encoder.close()


def _scores(cross_encoder: CrossEncoder, sequences: list[NDArray[np.int32]], key: object) -> NDArray[np.float32]:
    del key
    return cross_encoder.score_tokens(sequences)


def model_record(model: EmbeddingModel | RerankModel, *, created: int) -> Mapping[str, Any]:
    """Return a model as GET /v1/models shows it: OpenAI's fields, and what its vectors are."""
    record: dict[str, Any] = {"id": model.name, "object": "model", "created": created, "owned_by": "reasonembed"}
    if isinstance(model, RerankModel):
        return record | {"kind": "reranker", "max_length": model.cross_encoder.max_length}
    spec = model.spec
    return record | {
        "kind": "embedding",
        "parent": model.loaded.name if model.adapter is not None else None,
        "dimension": spec.dimension,
        "max_query_length": spec.max_query_length,
        "max_document_length": spec.max_document_length,
        "spec_digest": spec.digest(),
        "space": spec.space(),
        "spec": _public_fields(spec, name=model.name),
    }


def _public_fields(spec: EmbeddingSpec, *, name: str) -> Mapping[str, Any]:
    """Return the fields of a spec, without the places of its files on this machine."""
    public = dataclasses.replace(spec, model=name, revision=None, adapter=None)
    return dataclasses.asdict(public)
