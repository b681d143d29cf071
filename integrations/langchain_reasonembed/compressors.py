"""ReasonEmbedCompressor: the core's hit filters as a LangChain document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from pydantic import ConfigDict

from reasonembed_rag import Document as PlainDocument
from reasonembed_rag.deprecation import warn_deprecated
from reasonembed_rag.pipeline import HitFilter, keep_through

__all__ = ["DefendedRetriever", "ReasonEmbedCompressor"]


class ReasonEmbedCompressor(BaseDocumentCompressor):
    """Keep the retrieved documents that every filter keeps, in their order.

    Use it wherever LangChain takes a compressor (ContextualCompressionRetriever), or with `around`.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    filters: tuple[HitFilter, ...]
    """TrustFilter, HubnessGuard, NearDuplicateFilter of reasonembed_rag.pipeline, or your own; each sees what the one
    before it kept."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents that pass the filters; filters look at documents only."""
        del query, callbacks
        plain = [PlainDocument(document.id or "", document.page_content) for document in documents]
        return [documents[position] for position in keep_through(self.filters, plain)]

    def around(self, retriever: BaseRetriever) -> Runnable[str, list[Document]]:
        """Return a Runnable that gives what the retriever finds and the filters keep; arguments go to the retriever."""

        def find(query: str, config: RunnableConfig, **changes: Any) -> list[Document]:
            return self.compress_documents(retriever.invoke(query, config, **changes), query)

        async def afind(query: str, config: RunnableConfig, **changes: Any) -> list[Document]:
            found = await retriever.ainvoke(query, config, **changes)
            return list(await self.acompress_documents(found, query))

        return RunnableLambda(find, afind, name=f"{retriever.get_name()} | {type(self).__name__}")


def DefendedRetriever(base: BaseRetriever, defences: Sequence[HitFilter]) -> Runnable[str, list[Document]]:
    """Return `ReasonEmbedCompressor(filters=defences).around(base)`; deprecated."""
    warn_deprecated("langchain_reasonembed.DefendedRetriever", "ReasonEmbedCompressor(filters=...).around(retriever)")
    return ReasonEmbedCompressor(filters=tuple(defences)).around(base)
