"""DefendedRetriever: any LangChain retriever behind defences against poisoned documents."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from reasonembed_rag import Document as Plain
from reasonembed_rag.pipeline import Defence, keep_through

__all__ = ["DefendedRetriever"]


class DefendedRetriever(BaseRetriever):
    """Find what another retriever finds, less what defences hold to be planted.

    Each defence looks at what the one before it left. Arguments of a call go to the retriever behind.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    base: BaseRetriever
    """Any retriever."""
    defences: tuple[Defence, ...]
    """TrustFilter, HubnessGuard, NearDuplicateFilter of reasonembed_rag.pipeline.filters, or your own."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        found = self.base.invoke(query, config={"callbacks": run_manager.get_child()}, **changes)
        return self._kept(found)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        found = await self.base.ainvoke(query, config={"callbacks": run_manager.get_child()}, **changes)
        return await asyncio.to_thread(self._kept, found)

    def _kept(self, found: list[Document]) -> list[Document]:
        plain = [Plain(document.id or "", document.page_content) for document in found]
        return [found[place] for place in keep_through(self.defences, plain)]
