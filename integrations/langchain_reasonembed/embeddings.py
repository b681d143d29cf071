"""ReasonEmbedEmbeddings: our encoder as LangChain embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.utils import secret_from_env
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from langchain_reasonembed.pickling import with_key, without_key
from reasonembed_rag.encoder import CACHE_BYTES, EncoderSettings, SharedEncoder, shared_encoder
from reasonembed_rag.passages import PassageSplitter
from reasonembed_rag.spec import EmbeddingSpec

__all__ = ["ReasonEmbedEmbeddings"]


class ReasonEmbedEmbeddings(BaseModel, Embeddings):
    """Embed queries and documents with one model, loaded at the first call and shared in the process.

    Texts reach the model unchanged, newlines included; only queries get the query template. An instance holds
    settings only: it is pickled without the weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str = "default"
    """"default", a folder, a hub id, or the name of a shared embedder."""
    revision: str | None = None
    adapter: str | dict[str, str] | None = None
    """One adapter that is always active, or a mapping of names to adapters that calls choose from."""
    device: str | list[str] | None = None
    """One device, or several that share the work."""
    dtype: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    """The engine: ONNX Runtime for encoders on a CPU, torch for everything else."""
    max_query_length: int | None = None
    max_document_length: int | None = None
    truncate_dim: int | None = None
    task: str | None = None
    """The task card whose instruction precedes queries."""
    query_instruction: str | None = None
    """The instruction for queries, instead of a task's."""
    token_budget: int | None = None
    """Maximum tokens per forward pass, which bounds memory."""
    cache: str | None = None
    """The folder of a vector cache, keyed by everything that changes a vector."""
    cache_bytes: int = CACHE_BYTES
    base_url: str | None = None
    """An OpenAI-compatible server that runs the model, such as http://localhost:8000/v1."""
    server_spec: dict[str, Any] | None = None
    """The EmbeddingSpec of the server's model, as a mapping of its fields."""
    tokenizer: str | None = None
    """The tokenizer that truncates texts before they are sent; without one the server truncates them."""
    api_key: SecretStr | None = Field(default_factory=secret_from_env("REASONEMBED_API_KEY", default=None))
    show_progress: bool = False

    def __getstate__(self) -> dict[Any, Any]:
        """Return the state without the key."""
        return without_key(super().__getstate__())

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take a state, and the key from REASONEMBED_API_KEY."""
        super().__setstate__(with_key(state))

    @property
    def encoder(self) -> SharedEncoder:
        """The encoder of these settings, shared by the process."""
        return shared_encoder(
            EncoderSettings(
                model=self.model,
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
                api_key=None if self.api_key is None else self.api_key.get_secret_value(),
            )
        )

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
        adapter: str | None = None,
        show_progress: bool = False,
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of queries, (dimension,) for a single string.

        A task or an instruction given here replaces the one in the settings.
        """
        return self.encoder.encode_queries(
            texts,
            **self._instructed(task, instruction),
            adapter=adapter,
            show_progress=show_progress or self.show_progress,
        )

    def encode_documents(
        self, texts: str | Sequence[str], *, adapter: str | None = None, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Return float32 vectors (n, dimension) of documents, (dimension,) for a single string."""
        shown = show_progress or self.show_progress
        return self.encoder.encode_documents(texts, adapter=adapter, show_progress=shown)

    def embed_documents(self, texts: list[str], *, adapter: str | None = None) -> list[list[float]]:
        """Return the vectors of documents as lists of Python floats."""
        vectors: list[list[float]] = self.encode_documents(list(texts), adapter=adapter).tolist()
        return vectors

    def embed_query(
        self, text: str, *, task: str | None = None, instruction: str | None = None, adapter: str | None = None
    ) -> list[float]:
        """Return the vector of a query as a list of Python floats."""
        vectors = self.encode_queries([text], task=task, instruction=instruction, adapter=adapter)
        vector: list[float] = vectors[0].tolist()
        return vector

    async def aembed_documents(self, texts: list[str], *, adapter: str | None = None) -> list[list[float]]:
        """Like embed_documents, off the event loop, loading included."""
        vectors: list[list[float]] = (await self.encoder.aencode_documents(list(texts), adapter=adapter)).tolist()
        return vectors

    async def aembed_query(
        self, text: str, *, task: str | None = None, instruction: str | None = None, adapter: str | None = None
    ) -> list[float]:
        """Like embed_query, off the event loop, loading included; concurrent calls share batches."""
        vectors = await self.encoder.aencode_queries([text], **self._instructed(task, instruction), adapter=adapter)
        vector: list[float] = vectors[0].tolist()
        return vector

    def _instructed(self, task: str | None, instruction: str | None) -> dict[str, str | None]:
        """Return the task or instruction of a call, else that of the settings."""
        if task is None and instruction is None:
            return {"task": self.task, "instruction": self.query_instruction}
        return {"task": task, "instruction": instruction}
