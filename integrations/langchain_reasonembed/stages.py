"""The core's rerankers and query expanders as LangChain's document compressor and Runnable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import ConfigDict, Field

from reasonembed_rag.pipeline import rerank_texts
from reasonembed_rag.protocols import QueryExpander, Reranker

__all__ = ["ReasonEmbedQueryExpander", "ReasonEmbedReranker"]


class ReasonEmbedReranker(BaseDocumentCompressor):
    """Put retrieved documents in the order of a reranker: a CrossEncoder, a chat model's judgement, your own.

    Use it wherever LangChain takes a compressor, such as ContextualCompressionRetriever. The new score is in
    metadata["reasonembed_rerank_score"]; all other metadata, the first score among it, stays.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    reranker: Reranker
    k: int | None = Field(default=None, ge=1)
    """How many documents are returned; None: all."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return the documents, best first; they come in the order before."""
        del callbacks
        ranked = rerank_texts(self.reranker, query, [document.page_content for document in documents], k=self.k)
        return [_with_score(documents[position], score) for position, score in ranked]


class ReasonEmbedQueryExpander(RunnableSerializable[str, str]):
    """Write what finds more than the query's own words: a Runnable from a query to the text that is searched.

    "append" returns the query, a blank line and what the expander wrote, "replace" that alone; a query that could not
    be expanded is returned as it is.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    expander: QueryExpander
    combine: Literal["append", "replace"] = "append"

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> str:  # noqa: A002 - LangChain's
        """Return the text to search."""
        del kwargs
        return self._call_with_config(self._expanded, input, config, run_type="chain")

    def _expanded(self, query: str) -> str:
        (written,) = self.expander.expand([query])
        texts = [*written.queries, *written.documents]
        if not texts:
            return query
        return "\n\n".join(texts if self.combine == "replace" else [query, *texts])


def _with_score(document: Document, score: float) -> Document:
    metadata = document.metadata | {"reasonembed_rerank_score": score}
    return document.model_copy(update={"metadata": metadata})
