"""ReasonEmbedRetriever: from a question to LlamaIndex nodes."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import Any, Self

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle, QueryType, TextNode
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.core.vector_stores.utils import metadata_dict_to_node
from llama_index.vector_stores.reasonembed import plain_filter

from reasonembed_rag.errors import InputError
from reasonembed_stores import Hit, Question, Searcher, check_k

__all__ = ["ReasonEmbedRetriever"]

_CHANGES: ContextVar[dict[str, Any]] = ContextVar("reasonembed_changes", default={})  # noqa: B039 - never changed in place
_PER_CALL = ("k", "task", "instruction", "filters", "excluded_ids")


class ReasonEmbedRetriever(BaseRetriever):
    """Find nodes in an index, by the model that made it.

    It holds settings only: the index is opened and the model loaded at the first question, and both are left behind
    by to_dict and by pickle.
    """

    def __init__(
        self,
        index: str,
        *,
        model: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        base_url: str | None = None,
        callback_manager: CallbackManager | None = None,
        **settings: Any,
    ) -> None:
        """Take the folder of an index, and the model where it is not the one that the index names.

        base_url is a server that holds the index's model, model then its name there; its key is read from
        REASONEMBED_API_KEY.

        settings are what a call may change: k (10), task, instruction, filters (plain data or MetadataFilters),
        excluded_ids.
        """
        super().__init__(callback_manager=callback_manager)
        self.index = index
        self.model = model
        self.device = device
        self.dtype = dtype
        self.base_url = base_url
        self.settings = _checked(settings)
        self._searcher = Searcher(
            index,
            model=model,
            device=device,
            dtype=dtype,
            base_url=base_url,
            api_key=os.environ.get("REASONEMBED_API_KEY") if base_url else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain data; from_dict makes an equal retriever of it."""
        return {
            "class_name": "ReasonEmbedRetriever",
            "index": self.index,
            "model": self.model,
            "device": self.device,
            "dtype": self.dtype,
            "base_url": self.base_url,
            **self.settings,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make the retriever that to_dict described."""
        return cls(**{name: value for name, value in data.items() if name != "class_name"})

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings only."""
        return type(self).from_dict, (self.to_dict(),)

    def retrieve(self, str_or_query_bundle: QueryType, **changes: Any) -> list[NodeWithScore]:
        """Return the k best nodes, best first; a call may change k, task, instruction, filters and excluded_ids."""
        token = _CHANGES.set(_checked(changes))
        try:
            return super().retrieve(str_or_query_bundle)
        finally:
            _CHANGES.reset(token)

    async def aretrieve(self, str_or_query_bundle: QueryType, **changes: Any) -> list[NodeWithScore]:
        """Do the same without ever blocking the event loop."""
        token = _CHANGES.set(_checked(changes))
        try:
            return await super().aretrieve(str_or_query_bundle)
        finally:
            _CHANGES.reset(token)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(hit) for hit in self._searcher.search(self._question(query_bundle))]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(hit) for hit in await self._searcher.asearch(self._question(query_bundle))]

    def _question(self, bundle: QueryBundle) -> Question:
        changes = _CHANGES.get()
        settings = dict(self.settings)
        if {"task", "instruction"} & changes.keys():
            settings |= {"task": None, "instruction": None}
        return Question(texts=bundle.embedding_strs, vector=bundle.embedding, **settings | changes)


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(settings.keys() - set(_PER_CALL))
    if unknown:
        raise InputError(f"unknown argument {unknown[0]!r}; want some of {', '.join(_PER_CALL)}")
    if "k" in settings:
        check_k(settings["k"])
    filters = settings.get("filters")
    return settings | {"filters": plain_filter(filters)} if isinstance(filters, MetadataFilters) else settings


def _node(hit: Hit) -> NodeWithScore:
    """Return a hit as a node: the one that was added, where a LlamaIndex store added it."""
    node: BaseNode
    if "_node_content" in hit.document.metadata:
        node = metadata_dict_to_node(dict(hit.document.metadata), text=hit.document.content)
    else:
        node = TextNode(id_=hit.document.id, text=hit.document.content, metadata=dict(hit.document.metadata))
    return NodeWithScore(node=node, score=hit.score)
