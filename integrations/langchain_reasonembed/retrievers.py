"""ReasonEmbedRetriever: from a question to LangChain documents."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr

from reasonembed_rag.errors import InputError
from reasonembed_stores import Hit, Question, Searcher

__all__ = ["ReasonEmbedRetriever"]


class ReasonEmbedRetriever(BaseRetriever):
    """Find documents in an index, by the model that made it.

    It holds settings only: the index is opened and the model loaded at the first question, and both are left behind
    when it is serialised. Each document carries its similarity in metadata["score"].
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, protected_namespaces=())

    index: str
    """The folder of the index."""
    model: str | None = None
    """The model of the queries; None takes the one that the index names."""
    device: str | None = None
    dtype: str = "auto"
    base_url: str | None = None
    """A server that holds the index's model; `model` is then its name there."""
    api_key: SecretStr | None = Field(default_factory=secret_from_env("REASONEMBED_API_KEY", default=None))
    k: int = Field(default=10, ge=1)
    task: str | None = None
    instruction: str | None = None
    filters: dict[str, Any] | None = None
    excluded_ids: tuple[str, ...] = ()

    _searcher: Searcher | None = PrivateAttr(default=None)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Say that settings alone make a retriever."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Return where the key is read from, in the place of the key."""
        return {"api_key": "REASONEMBED_API_KEY"}

    def _ready(self) -> Searcher:
        if self._searcher is None:
            self._searcher = Searcher(
                self.index,
                model=self.model,
                device=self.device,
                dtype=self.dtype,
                base_url=self.base_url,
                api_key=None if self.api_key is None else self.api_key.get_secret_value(),
            )
        return self._searcher

    def _question(self, query: str, changes: dict[str, Any]) -> Question:
        """Return the question that the settings and the changes of one call make; raises InputError for others."""
        own = {name: getattr(self, name) for name in ("k", "task", "instruction", "filters", "excluded_ids")}
        unknown = sorted(changes.keys() - own.keys())
        if unknown:
            raise InputError(f"unknown argument {unknown[0]!r}; a call may change {', '.join(own)}")
        if {"task", "instruction"} & changes.keys():
            own |= {"task": None, "instruction": None}
        return Question(texts=[query], **own | changes)

    def _get_ls_params(self, **_kwargs: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(
            ls_retriever_name="reasonembed",
            ls_vector_store_provider="reasonembed",
            ls_embedding_provider="reasonembed",
            ls_embedding_model=self.model or (self._searcher.model_name if self._searcher is not None else None),
        )

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the opened index and the model behind."""
        state = dict(super().__getstate__())
        state["__pydantic_private__"] = {"_searcher": None}
        return state

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        del run_manager  # nothing here starts runs of its own
        return [_document(hit) for hit in self._ready().search(self._question(query, changes))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        del run_manager
        return [_document(hit) for hit in await self._ready().asearch(self._question(query, changes))]


def _document(hit: Hit) -> Document:
    metadata = {**hit.document.metadata, "score": hit.score}
    return Document(id=hit.document.id, page_content=hit.document.content, metadata=metadata)
