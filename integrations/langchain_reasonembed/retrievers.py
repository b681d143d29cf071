"""ReasonEmbedRetriever: a saved index as a LangChain retriever."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.utils import secret_from_env
from pydantic import AliasChoices, ConfigDict, Field, InstanceOf, PrivateAttr, SecretStr, model_validator

from langchain_reasonembed.chat import as_chat, open_chat
from langchain_reasonembed.conversion import scored_documents
from langchain_reasonembed.pickling import with_key, without_key
from langchain_reasonembed.tracing import StageRuns
from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Chat, ChatAccess, ChatModelSettings, served_chat
from reasonembed_rag.protocols import QueryExpander, Reranker
from reasonembed_stores import FilterLike, IndexModel, IndexRetriever, StagedIndex, StageNames

__all__ = ["ReasonEmbedRetriever"]


class ReasonEmbedRetriever(BaseRetriever):
    """Find documents in a saved index, with the model that encoded it, and with the stages of a pipeline around it.

    It holds settings only: the index is opened and the models are loaded at the first query, and none is serialised.
    The score of each document is in metadata["reasonembed_score"], and in metadata["score"] unless the document has a
    field of that name; with stages, what the index itself gave it is in metadata["reasonembed_retrieval_score"], and
    each stage is a child run.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    index: str | None = None
    """The folder of the index; a Pipeline brings its own retriever instead."""
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
    bm25_weight: float = Field(default=0.0, ge=0.0, lt=1.0, validation_alias=AliasChoices("bm25_weight", "hybrid"))
    """Above 0, vectors and words are searched (IndexRetriever); `hybrid` is accepted too. The commands' is 0.25."""
    pipeline: Any = None
    """The stages (PipelineLike): a TOML file, what read_pipeline returned, PipelineStages; or a Pipeline with its own
    retriever."""
    expand: str | QueryExpander | None = None
    """reasoning, hyde, decompose, feedback, a colon and a chat model's name; vector-feedback; or a QueryExpander."""
    rerank: str | Reranker | None = None
    """A cross-encoder's hub id or folder, yes-no:MODEL, late-interaction:MODEL, "chat:openai:gpt-4o-mini" (listwise),
    pointwise:..., groupwise:..., or a Reranker; the first 100 documents are reranked."""
    chat: InstanceOf[BaseChatModel] | None = None
    """The chat model of `expand` and `rerank`, where they do not name one: expand="hyde"."""
    with_score: bool = True
    """Whether metadata gets the scores; without them MultiQueryRetriever sees that two queries found one document."""

    _retriever: IndexRetriever | None = PrivateAttr(default=None)
    _staged: StagedIndex | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _check_aliases(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            _renamed(given)
        return given

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        """Raise InputError for fields that contradict each other, and for unknown names, before anything is opened."""
        own = {"model", "device", "base_url", "task", "instruction", "filters", "bm25_weight"} & self.model_fields_set
        self._names().check_index(self.index, own)
        return self

    def _names(self) -> StageNames:
        chat = None if self.chat is None else ChatAccess(chat=as_chat(self.chat))
        return StageNames(pipeline=self.pipeline, expand=self.expand, rerank=self.rerank, chat=chat)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: a retriever can be rebuilt from its settings."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Return the environment variable that is serialised instead of the key."""
        return {"api_key": "REASONEMBED_API_KEY"}

    def _stages(self) -> StagedIndex | None:
        if self._staged is None:
            names = self._names()
            self._staged = StagedIndex(names, _open_chat) if names.given else None
        return self._staged

    def _opened(self) -> IndexRetriever:
        if self.index is None:
            raise InputError("got no index; want the folder of one")
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
        changes = _renamed(changes)
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
        return without_key(super().__getstate__()) | {"__pydantic_private__": {"_retriever": None, "_staged": None}}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take a state, and the key from REASONEMBED_API_KEY."""
        super().__setstate__(with_key(state))

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        call = self._call(changes)
        stages = self._stages()
        if stages is not None:
            return self._found_by(stages, query, call, run_manager)
        (hits,) = call.retriever(self._opened()).search([query], k=call.k, excluded_ids=[call.excluded_ids])
        return self._documents(hits)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        call = self._call(changes)
        stages = self._stages()
        if stages is not None:
            return await asyncio.to_thread(self._found_by, stages, query, call, run_manager.get_sync())
        (hits,) = await call.retriever(self._opened()).asearch([query], k=call.k, excluded_ids=[call.excluded_ids])
        return self._documents(hits)

    def _call(self, changes: dict[str, Any]) -> _Call:
        """Return the settings of one call; raises InputError for those that a Pipeline's own retriever has."""
        kept = sorted(changes.keys() - {"k", "excluded_ids"})
        if kept and self.index is None:
            raise InputError(
                f"got {kept[0]}, and the Pipeline brings its own retriever; a call may change k, excluded_ids"
            )
        return _Call(**self._settings(changes))

    def _found_by(
        self, stages: StagedIndex, query: str, call: _Call, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        found = stages.search(
            query,
            None if self.index is None else call.retriever(self._opened()),
            k=call.k,
            excluded_ids=call.excluded_ids,
            task=call.task,
            observer=StageRuns(run_manager),
        )
        return self._documents(found.hits, found.first_scores)

    def _documents(self, hits: Hits, first_scores: Mapping[str, float] | None = None) -> list[Document]:
        """Return documents with their scores in their metadata, where a user's own `score` stays."""
        found = scored_documents(hits)
        for identity, (document, score) in zip(hits.ids, found, strict=True) if self.with_score else ():
            document.metadata["reasonembed_score"] = score
            document.metadata.setdefault("score", score)
            if first_scores is not None and identity in first_scores:
                document.metadata["reasonembed_retrieval_score"] = first_scores[identity]
        return [document for document, _ in found]


_ALIASES = (("filter", "filters"), ("hybrid", "bm25_weight"))


def _renamed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments under their names; raises InputError for both names of one."""
    renamed = dict(given)
    for alias, name in _ALIASES:
        if alias in renamed:
            if name in renamed:
                raise InputError(f"got both {alias} and {name}, which mean the same; leave one of them out")
            renamed[name] = renamed.pop(alias)
    return renamed


def _open_chat(settings: ChatModelSettings) -> Chat:
    if settings.base_url is not None:
        return served_chat(settings)
    return open_chat(settings.name, parameters=settings.parameters, timeout=settings.timeout)


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
