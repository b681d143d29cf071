"""DefendedRetriever: any LlamaIndex retriever behind defences against poisoned documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, QueryType

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import Defence, keep_through

__all__ = ["DefendedRetriever"]

_CHANGES: ContextVar[dict[str, Any]] = ContextVar("defended_changes", default={})  # noqa: B039 - never changed in place


class DefendedRetriever(BaseRetriever):
    """Find what another retriever finds, less what defences hold to be planted.

    Each defence looks at what the one before it left. Arguments of a call go to the retriever behind.
    """

    def __init__(
        self, base: BaseRetriever, *, defences: Sequence[Defence], callback_manager: CallbackManager | None = None
    ) -> None:
        """Take any retriever, and TrustFilter, HubnessGuard, NearDuplicateFilter or defences of your own.

        Raises InputError for what is no defence.
        """
        super().__init__(callback_manager=callback_manager)
        for place, defence in enumerate(defences):
            if not isinstance(defence, Defence):
                raise InputError(f"defences[{place}] is {type(defence).__name__}; want one with a method keep")
        self.base = base
        self.defences = tuple(defences)

    def with_base(self, base: BaseRetriever) -> DefendedRetriever:
        """Return the same defences before another retriever."""
        return DefendedRetriever(base, defences=self.defences, callback_manager=self.callback_manager)

    def retrieve(self, str_or_query_bundle: QueryType, **changes: Any) -> list[NodeWithScore]:
        """Return the nodes that are left, best first."""
        token = _CHANGES.set(changes)
        try:
            return super().retrieve(str_or_query_bundle)
        finally:
            _CHANGES.reset(token)

    async def aretrieve(self, str_or_query_bundle: QueryType, **changes: Any) -> list[NodeWithScore]:
        """Do the same without ever blocking the event loop."""
        token = _CHANGES.set(changes)
        try:
            return await super().aretrieve(str_or_query_bundle)
        finally:
            _CHANGES.reset(token)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._kept(self.base.retrieve(query_bundle, **_CHANGES.get()))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self.base.aretrieve(query_bundle, **_CHANGES.get())
        return await asyncio.to_thread(self._kept, found)

    def _kept(self, found: list[NodeWithScore]) -> list[NodeWithScore]:
        plain = [Document(node.node.node_id, node.node.get_content(MetadataMode.NONE)) for node in found]
        return [found[place] for place in keep_through(self.defences, plain)]
