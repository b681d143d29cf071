"""ReasonEmbedRetriever: a saved index as a LlamaIndex retriever."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Literal, Self

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.retrievers.reasonembed.chat import as_chat, open_named_chat
from llama_index.retrievers.reasonembed.tracing import StageSpans, nodes_of, staged_nodes
from llama_index.vector_stores.reasonembed import plain_filter
from numpy.typing import NDArray

from reasonembed_rag.errors import InputError
from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import ChatAccess
from reasonembed_rag.protocols import QueryExpander, Reranker
from reasonembed_stores import (
    IndexModel,
    IndexRetriever,
    PipelineLike,
    StagedIndex,
    StageNames,
    check_bm25_weight,
    check_k,
)

__all__ = ["ReasonEmbedRetriever"]

_OF_INDEX = ("task", "instruction", "filters", "bm25_weight")
_SETTINGS = ("k", "task", "instruction", "filters", "excluded_ids", "bm25_weight")


class ReasonEmbedRetriever(BaseRetriever):
    """Find nodes in a saved index, with the model that encoded it, and with the stages of a pipeline around it.

    It holds settings only: the index is opened and the models are loaded at the first query, and none is part of
    to_dict or of a pickle. With stages, a node's score is the last stage's; what the index itself gave it is in its
    metadata, "reasonembed_retrieval_score", which neither the model nor an embedding reads, and each stage has a span
    with a retrieval's events of its own.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of the retriever
        self,
        index: str | None = None,
        *,
        pipeline: PipelineLike | None = None,
        expand: str | QueryExpander | None = None,
        rerank: str | Reranker | None = None,
        chat: LLM | None = None,
        model: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        backend: Literal["auto", "torch", "onnx"] = "auto",
        base_url: str | None = None,
        api_key: str | None = None,
        callback_manager: CallbackManager | None = None,
        **settings: Any,
    ) -> None:
        """Take the folder of an index, and the model if it is not the one that the index names.

        base_url is a server that runs the index's model, and model is then its name there. api_key is the server's key,
        read from REASONEMBED_API_KEY by default; it is never part of to_dict or a pickle. settings are those that
        with_settings and a call of retrieve can change: k (10), task, instruction, filters (plain data or
        MetadataFilters), excluded_ids, bm25_weight or hybrid (0; the commands' is 0.25, see IndexRetriever).

        Stages come from a pipeline (PipelineLike; a Pipeline brings its own retriever, and then there is no index), or
        by name. expand is reasoning, hyde, decompose or feedback, a colon and a chat model's name, vector-feedback, or
        a QueryExpander. rerank is a cross-encoder's hub id or folder, yes-no:MODEL, late-interaction:MODEL,
        "chat:openai:gpt-4o-mini" (listwise), pointwise:..., groupwise:..., or a Reranker; the first 100 documents are
        reranked. chat is the LLM for those that are named without one. Raises InputError for what contradicts itself.
        """
        super().__init__(callback_manager=callback_manager)
        self.index = index
        self.model = model
        self.device = device
        self.dtype = dtype
        self.backend = backend
        self.base_url = base_url
        self.settings = _checked(settings)
        self.pipeline = pipeline
        self.expand = expand
        self.rerank = rerank
        self.chat = chat
        access = None if chat is None else ChatAccess(chat=as_chat(chat))
        names = StageNames(pipeline=pipeline, expand=expand, rerank=rerank, chat=access)
        own = {name for name in ("model", "device", "base_url") if getattr(self, name) is not None}
        names.check_index(index, own | {name for name in _OF_INDEX if self.settings.get(name)})
        self._staged = StagedIndex(names, open_named_chat) if names.given else None
        key = (api_key or os.environ.get("REASONEMBED_API_KEY")) if base_url else None
        loading = IndexModel(model=model, device=device, dtype=dtype, backend=backend, base_url=base_url, api_key=key)
        self._retriever = None if index is None else IndexRetriever(index, loading)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, from which from_dict builds an equal retriever.

        Stages that are objects are in it as they are.
        """
        stages = {name: value for name, value in self._stages().items() if value is not None}
        return {"class_name": "ReasonEmbedRetriever", "index": self.index, **self._loading(), **self.settings, **stages}

    def _stages(self) -> dict[str, Any]:
        return {"pipeline": self.pipeline, "expand": self.expand, "rerank": self.rerank, "chat": self.chat}

    def _loading(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "device": self.device,
            "dtype": self.dtype,
            "backend": self.backend,
            "base_url": self.base_url,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild a retriever from what to_dict returned."""
        return cls(**{name: value for name, value in data.items() if name != "class_name"})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings only."""
        return type(self).from_dict, (self.to_dict(),)

    def with_settings(self, **changes: Any) -> Self:
        """Return a copy with other settings that shares the opened index and the model.

        A task or an instruction replaces both of them. Raises InputError for unknown settings.
        """
        kept = dict(self.settings)
        if {"task", "instruction"} & changes.keys():
            kept |= {"task": None, "instruction": None}
        made = type(self)(
            self.index,
            **self._loading(),
            **self._stages(),
            callback_manager=self.callback_manager,
            **(kept | _checked(changes)),
        )
        made._staged = self._staged  # noqa: SLF001  # the same class
        made._retriever = self._retriever  # noqa: SLF001  # the same class
        return made

    def retrieve(self, str_or_query_bundle: QueryType, **changes: Any) -> list[NodeWithScore]:
        """Return the k best nodes, best first; changes are those of with_settings, for this call alone."""
        if changes:
            return self.with_settings(**changes).retrieve(str_or_query_bundle)
        return super().retrieve(str_or_query_bundle)

    async def aretrieve(self, str_or_query_bundle: QueryType, **changes: Any) -> list[NodeWithScore]:
        """Like retrieve, without blocking the event loop."""
        if changes:
            return await self.with_settings(**changes).aretrieve(str_or_query_bundle)
        return await super().aretrieve(str_or_query_bundle)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._staged is not None:
            return self._through(self._staged, query_bundle)
        retriever = self._with_own_settings()
        if query_bundle.embedding is not None:
            vectors = np.asarray([query_bundle.embedding], dtype=np.float32)
        else:
            vectors = retriever.encode_queries(_texts(query_bundle))
        return nodes_of(self._nearest(retriever, query_bundle.query_str, vectors))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        if self._staged is not None:
            return await asyncio.to_thread(self._through, self._staged, query_bundle)
        retriever = self._with_own_settings()
        if query_bundle.embedding is not None:
            vectors = np.asarray([query_bundle.embedding], dtype=np.float32)
        else:
            vectors = await retriever.aencode_queries(_texts(query_bundle))
        return nodes_of(await asyncio.to_thread(self._nearest, retriever, query_bundle.query_str, vectors))

    def _through(self, stages: StagedIndex, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return what the stages find for a query."""
        if query_bundle.embedding is not None or query_bundle.embedding_strs != [query_bundle.query_str]:
            raise InputError(
                "got a query with an embedding or texts of its own, and stages search by its words; leave the query "
                "transform out, or use expand= in its place"
            )
        found = stages.search(
            query_bundle.query_str,
            None if self.index is None else self._with_own_settings(),
            k=self.settings.get("k", 10),
            excluded_ids=self.settings.get("excluded_ids") or (),
            task=self.settings.get("task"),
            observer=StageSpans(self),
        )
        return staged_nodes(found)

    def _with_own_settings(self) -> IndexRetriever:
        if self._retriever is None:
            raise InputError("got no index; want the folder of one")
        own = {name: self.settings.get(name) for name in ("task", "instruction", "filters")}
        return self._retriever.with_settings(**own, bm25_weight=self.settings.get("bm25_weight", 0.0))

    def _nearest(self, retriever: IndexRetriever, text: str, vectors_QD: NDArray[np.float32]) -> Hits:
        """Search for the mean of some vectors, and for the words of a text where BM25 has a weight."""
        mean_1D = vectors_QD if len(vectors_QD) == 1 else vectors_QD.mean(axis=0, keepdims=True)
        excluded = [self.settings.get("excluded_ids") or ()]
        return retriever.search_hybrid([text], mean_1D, k=self.settings.get("k", 10), excluded_ids=excluded)[0].hits


def _texts(bundle: QueryBundle) -> list[str]:
    """Return a query's texts, whose vectors are averaged (custom_embedding_strs)."""
    if not bundle.embedding_strs:
        raise InputError("got a query without texts; want at least one text, or an embedding")
    return bundle.embedding_strs


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    if "hybrid" in settings:
        if "bm25_weight" in settings:
            raise InputError("got both hybrid and bm25_weight, which mean the same; leave one of them out")
        settings = {("bm25_weight" if name == "hybrid" else name): value for name, value in settings.items()}
    unknown = sorted(settings.keys() - set(_SETTINGS))
    if unknown:
        raise InputError(f"unknown argument {unknown[0]!r}; want some of {', '.join(_SETTINGS)}")
    if "k" in settings:
        check_k(settings["k"])
    if "bm25_weight" in settings:
        check_bm25_weight(settings["bm25_weight"])
    filters = settings.get("filters")
    return settings | {"filters": plain_filter(filters)} if isinstance(filters, MetadataFilters) else settings
