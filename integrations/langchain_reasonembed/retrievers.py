"""ReasonEmbedRetriever: a saved index as a LangChain retriever."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr, SecretStr

from langchain_reasonembed.conversion import scored_documents
from langchain_reasonembed.pickling import with_key, without_key
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_stores import FilterLike, IndexModel, IndexRetriever

__all__ = ["ReasonEmbedRetriever"]


class ReasonEmbedRetriever(BaseRetriever):
    """Find documents in a saved index, with the model that encoded it.

    It holds settings only: the index is opened and the model loaded at the first query, and neither is serialised. The
    score of each document is in metadata["reasonembed_score"], and in metadata["score"] unless the document has a
    field of that name.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, protected_namespaces=())

    index: str
    """The folder of the index."""
    model: str | None = None
    """The model for queries; None is the one that the index names."""
    device: str | None = None
    dtype: str = "auto"
    backend: Literal["auto", "torch", "onnx"] = "auto"
    base_url: str | None = None
    """A server that runs the index's model; `model` is then its name there."""
    api_key: SecretStr | None = Field(default_factory=secret_from_env("REASONEMBED_API_KEY", default=None))
    k: int = Field(default=10, ge=1)
    task: str | None = None
    instruction: str | None = None
    filters: dict[str, Any] | None = Field(default=None, validation_alias=AliasChoices("filters", "filter"))
    """Conditions on metadata; `filter`, LangChain's usual name, is accepted too. A function goes with the call."""
    excluded_ids: tuple[str, ...] = ()
    bm25_weight: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Above 0, vectors and words are searched (IndexRetriever); reasonembed_stores.BM25_WEIGHT is the commands'."""
    with_score: bool = True
    """Whether metadata gets the scores; without them MultiQueryRetriever sees that two queries found one document."""

    _retriever: IndexRetriever | None = PrivateAttr(default=None)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: a retriever can be rebuilt from its settings."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Return the environment variable that is serialised instead of the key."""
        return {"api_key": "REASONEMBED_API_KEY"}

    def _opened(self) -> IndexRetriever:
        if self._retriever is None:
            model = IndexModel(
                model=self.model,
                device=self.device,
                dtype=self.dtype,
                backend=self.backend,
                base_url=self.base_url,
                api_key=None if self.api_key is None else self.api_key.get_secret_value(),
            )
            self._retriever = IndexRetriever(self.index, model)
        return self._retriever

    def _settings(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Return the settings of one call; raises InputError for a change that is not one of them."""
        if "filter" in changes:
            if "filters" in changes:
                raise InputError("got both filter and filters, which mean the same; leave one of them out")
            changes = {("filters" if name == "filter" else name): value for name, value in changes.items()}
        own = {
            name: getattr(self, name) for name in ("k", "task", "instruction", "filters", "excluded_ids", "bm25_weight")
        }
        unknown = sorted(changes.keys() - own.keys())
        if unknown:
            raise InputError(f"unknown argument {unknown[0]!r}; a call may change {', '.join(own)}")
        if {"task", "instruction"} & changes.keys():
            own |= {"task": None, "instruction": None}
        return own | changes

    def _get_ls_params(self, **_kwargs: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(
            ls_retriever_name="reasonembed",
            ls_vector_store_provider="reasonembed",
            ls_embedding_provider="reasonembed",
            ls_embedding_model=self.model or (self._retriever.model_name if self._retriever is not None else None),
        )

    def __getstate__(self) -> dict[Any, Any]:
        """Return the state without the key, the opened index and the model."""
        return without_key(super().__getstate__()) | {"__pydantic_private__": {"_retriever": None}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take a state, and the key from REASONEMBED_API_KEY."""
        super().__setstate__(with_key(state))

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        del run_manager  # nothing here starts child runs
        call = _Call(**self._settings(changes))
        (hits,) = call.retriever(self._opened()).search([query], k=call.k, excluded_ids=[call.excluded_ids])
        return self._documents(hits)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        del run_manager
        call = _Call(**self._settings(changes))
        (hits,) = await call.retriever(self._opened()).asearch([query], k=call.k, excluded_ids=[call.excluded_ids])
        return self._documents(hits)

    def _documents(self, hits: Hits) -> list[Document]:
        """Return documents with their scores in their metadata, where a user's own `score` stays."""
        found = scored_documents(hits)
        for document, score in found if self.with_score else ():
            document.metadata["reasonembed_score"] = score
            document.metadata.setdefault("score", score)
        return [document for document, _ in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """The settings of one call."""

    k: int
    task: str | None
    instruction: str | None
    filters: FilterLike | None
    excluded_ids: Collection[str]
    bm25_weight: float

    def retriever(self, opened: IndexRetriever) -> IndexRetriever:
        return opened.with_settings(
            task=self.task, instruction=self.instruction, filters=self.filters, bm25_weight=self.bm25_weight
        )
