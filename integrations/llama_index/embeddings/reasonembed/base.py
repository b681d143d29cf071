"""ReasonEmbedEmbedding: our encoder as a LlamaIndex embedding model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding, mean_agg
from llama_index.embeddings.reasonembed.reloading import open_our_folders
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, SecretStr, field_validator

from reasonembed_rag.encoder import CACHE_BYTES, EncoderSettings, SharedEncoder, shared_encoder
from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import PassageSplitter
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["QueryVector", "ReasonEmbedEmbedding"]

open_our_folders()


class QueryVector(list[float]):
    """A query's embedding that tells a vector store which model it comes from."""

    def __init__(self, values: Iterable[float], spec: EmbeddingSpec) -> None:
        super().__init__(values)
        self.spec = spec


class ReasonEmbedEmbedding(BaseEmbedding):
    """Embed queries and texts with one model, loaded at the first call and shared in the process.

    What changes a vector is a field, and so part of the ingestion cache's key; what does not (the device, the progress
    bar, the size of batches) is left out of it. Slices are as large as LlamaIndex allows, so that our own batching
    sees as many texts as it can.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), arbitrary_types_allowed=True)

    model_name: str = Field(default="default", description="A folder, a hub id, or the name of a shared embedder.")
    revision: str | None = None
    adapter: str | dict[str, str] | None = None
    dtype: str = "auto"
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None
    task: str | None = Field(default=None, description="The task card whose instruction precedes queries.")
    query_instruction: str | None = Field(default=None, description="The instruction for queries, instead of a task's.")
    embed_batch_size: int = Field(default=2048, gt=0, le=2048, exclude=True)
    num_workers: int | None = Field(default=None, exclude=True)
    device: str | list[str] | None = Field(default=None, exclude=True)
    backend: Literal["auto", "torch", "onnx"] = Field(default="auto", exclude=True)
    token_budget: int | None = Field(default=None, exclude=True)
    cache: str | None = Field(default=None, exclude=True, description="The folder of a cache of vectors.")
    cache_bytes: int = Field(default=CACHE_BYTES, exclude=True)
    show_progress: bool = Field(default=False, exclude=True)
    base_url: str | None = Field(default=None, description="An OpenAI-compatible server that runs the model.")
    server_spec: dict[str, Any] | None = Field(default=None, description="The fields of its model's EmbeddingSpec.")
    tokenizer: str | None = Field(default=None, description="Truncates texts before they are sent.")
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)

    @field_validator("embeddings_cache")
    @classmethod
    def _refuse_shared_entries(cls, value: Any) -> Any:
        if value is not None:
            raise InputError(
                "embeddings_cache keeps a query and a text of the same words, of any model, in one entry; "
                "give a folder as cache= instead"
            )
        return value

    @classmethod
    def class_name(cls) -> str:
        """Return the name used in serialised form."""
        return "ReasonEmbedEmbedding"

    @property
    def encoder(self) -> SharedEncoder:
        """The encoder of these settings, shared by the process."""
        return shared_encoder(
            EncoderSettings(
                model=self.model_name,
                revision=self.revision,
                adapter=None if isinstance(self.adapter, dict) else self.adapter,
                adapters=self.adapter if isinstance(self.adapter, dict) else {},
                device=self.device,
                dtype=self.dtype,
                backend=self.backend,
                max_query_length=self.max_query_length,
                max_document_length=self.max_document_length,
                truncate_dim=self.truncate_dim,
                token_budget=self.token_budget,
                cache=self.cache,
                cache_bytes=self.cache_bytes,
                base_url=self.base_url,
                server_spec=self.server_spec,
                tokenizer=self.tokenizer,
                api_key=self._key(),
            )
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the key; REASONEMBED_API_KEY is read where it is unpickled."""
        state = dict(super().__getstate__())
        return state | {"__dict__": state["__dict__"] | {"api_key": None}}

    def _key(self) -> str | None:
        return os.environ.get("REASONEMBED_API_KEY") if self.api_key is None else self.api_key.get_secret_value()

    @property
    def spec(self) -> EmbeddingSpec:
        """What fixes the vectors; loads the model."""
        return self.encoder.spec

    @property
    def dimension(self) -> int:
        """The length of every vector; loads the model."""
        return self.encoder.dimension

    def passage_splitter(self, *, tokens: int | None = None, overlap: int = 0) -> PassageSplitter:
        """Return a splitter into passages that the model reads whole; loads its tokenizer."""
        return self.encoder.passage_splitter(tokens=tokens, overlap=overlap)

    def encode_queries(
        self,
        texts: str | Sequence[str],
        *,
        task: str | None = None,
        instruction: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, (dimension,) for a single string."""
        return self.encoder.encode_queries(
            texts, **self._instructed(task, instruction), show_progress=show_progress or self.show_progress
        )

    def encode_documents(self, texts: str | Sequence[str], *, show_progress: bool = False) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of texts, (dimension,) for a single string."""
        return self.encoder.encode_documents(texts, show_progress=show_progress or self.show_progress)

    def _instructed(self, task: str | None = None, instruction: str | None = None) -> dict[str, str | None]:
        if task is None and instruction is None:
            return {"task": self.task, "instruction": self.query_instruction}
        return {"task": task, "instruction": instruction}

    def _get_query_embedding(self, query: str) -> Embedding:
        encoder = self.encoder
        vector_D = encoder.encode_queries(query, **self._instructed(), show_progress=self.show_progress)
        return QueryVector(vector_D.tolist(), encoder.spec)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        encoder = self.encoder
        vector_D = await encoder.aencode_queries(query, **self._instructed())
        return QueryVector(vector_D.tolist(), encoder.spec)

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return _lists(self.encode_documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return _lists(await self.encoder.aencode_documents(texts))

    def get_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., Embedding] | None = None
    ) -> Embedding:
        """Return one vector for several queries, embedded in one batch: by default their mean."""
        return self._query_vector(self.encode_queries(queries), agg_fn or mean_agg)

    async def aget_agg_embedding_from_queries(
        self, queries: list[str], agg_fn: Callable[..., Embedding] | None = None
    ) -> Embedding:
        """Like get_agg_embedding_from_queries, off the event loop."""
        return self._query_vector(await self.encoder.aencode_queries(queries, **self._instructed()), agg_fn or mean_agg)

    def _query_vector(self, vectors_QD: NDArray[np.float32], agg_fn: Callable[..., Embedding]) -> QueryVector:
        return QueryVector(agg_fn(_lists(vectors_QD)), self.spec)


def _lists(vectors: NDArray[np.float32]) -> list[Embedding]:
    """Return vectors as lists of Python floats, which LlamaIndex's events insist on."""
    lists: list[Embedding] = vectors.tolist()
    return lists
