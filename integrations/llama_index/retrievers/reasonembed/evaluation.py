"""LlamaIndex components under evaluation, called as their users call them."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.base import BaseIndex
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore
from llama_index.retrievers.reasonembed.base import ReasonEmbedRetriever
from llama_index_instrumentation import get_dispatcher
from pydantic import PrivateAttr

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation import Context, DocumentNames, FoundText
from reasonembed_rag.hits import Hits
from reasonembed_rag.lazy import lazy_face
from reasonembed_rag.protocols import Retriever, Usage
from reasonembed_rag.retrieval import EmbeddingFunctions, keep

__all__ = ["LlamaIndexRag", "as_retriever"]

__getattr__, _ = lazy_face(__name__, renamed={"LlamaIndexPipeline": "LlamaIndexRag"})

_NAME_KEYS = ("id", "document_id", "doc_id", "file_path")


def as_retriever(
    component: BaseEmbedding | BaseIndex[Any] | BaseRetriever,
    documents: Sequence[Document],
    *,
    node_postprocessors: Sequence[BaseNodePostprocessor] = (),
    use_async: bool = False,
) -> Retriever:
    """Return a LlamaIndex component as a core retriever, for evaluation.

    An embed_model embeds the documents and is searched exactly by cosine; an index or a retriever is asked through its
    own retrieve or aretrieve for k and the excluded documents besides, or with the exclusions where it takes them.
    Nodes are matched to the task's documents by their id, that of the document they come from, metadata or content; of
    several nodes of one document the best stays. node_postprocessors, filters or rerankers, are given the k nodes that
    an index or a retriever finds. Raises InputError for anything else.
    """
    if isinstance(component, BaseEmbedding):
        return EmbeddingFunctions(
            documents,
            embed_documents=component.get_text_embedding_batch,
            embed_query=component.get_query_embedding,
        )
    if isinstance(component, BaseIndex):
        component = component.as_retriever()
    if isinstance(component, BaseRetriever):
        return _NodeRetriever(component, DocumentNames(documents), tuple(node_postprocessors), use_async=use_async)
    raise InputError(f"got a {type(component).__name__}; want a LlamaIndex embed_model, index or retriever")


class _NodeRetriever:
    """A retriever of nodes, asked query by query."""

    def __init__(
        self,
        retriever: BaseRetriever,
        names: DocumentNames,
        postprocessors: tuple[BaseNodePostprocessor, ...],
        *,
        use_async: bool,
    ) -> None:
        self._retriever = retriever
        self._names = names
        self._postprocessors = postprocessors
        self._use_async = use_async
        self._calls = 0

    def search(
        self,
        queries: Sequence[str],
        *,
        k: int,
        excluded_ids: Sequence[Collection[str]] | None = None,
    ) -> list[Hits]:
        bans = excluded_ids if excluded_ids is not None else [()] * len(queries)
        return [self._ask(query, k, banned) for query, banned in zip(queries, bans, strict=True)]

    def usage(self) -> Usage:
        return Usage(llm_calls=self._calls)

    def _ask(self, query: str, k: int, banned: Collection[str]) -> Hits:
        retriever = _asking_for(self._retriever, k, banned)
        with _counted() as counter:
            if self._use_async:
                nodes = asyncio.run(self._apostprocessed(query, retriever))
            else:
                nodes = retriever.retrieve(query)
                for postprocessor in self._postprocessors:
                    nodes = postprocessor.postprocess_nodes(nodes, query_str=query)
        self._calls += counter.calls
        return keep(self._names.hits([_found(node) for node in nodes]), banned, k)

    async def _apostprocessed(self, query: str, retriever: BaseRetriever) -> list[NodeWithScore]:
        nodes = await retriever.aretrieve(query)
        for postprocessor in self._postprocessors:
            nodes = await postprocessor.apostprocess_nodes(nodes, query_str=query)
        return nodes


def _asking_for(retriever: BaseRetriever, k: int, banned: Collection[str]) -> BaseRetriever:
    """Return a copy that finds k documents besides the banned ones; one of an unknown class is returned as it is."""
    if isinstance(retriever, ReasonEmbedRetriever):
        return retriever.with_settings(k=k, excluded_ids=tuple(banned))
    if hasattr(retriever, "similarity_top_k"):
        retriever = copy.copy(retriever)
        retriever.similarity_top_k = k + len(banned)
    return retriever


class LlamaIndexRag:
    """A LlamaIndex query engine as a RagChain; the context is the answer's source nodes."""

    def __init__(self, engine: BaseQueryEngine, documents: Sequence[Document]) -> None:
        self._engine = engine
        self._names = DocumentNames(documents)
        self._calls = 0

    def answer(self, query: str) -> Context:
        """Query the engine; returns the nodes its model was given, and its answer."""
        with _counted() as counter:
            response: Any = self._engine.query(query)
        self._calls += counter.calls
        found: dict[str, Document] = {}
        for node in response.source_nodes:
            text = _found(node)
            name = self._names.name(text)
            content = text.content if name not in found else f"{found[name].content}\n{text.content}"
            found[name] = Document(name, content)
        return Context(tuple(found.values()), str(response))

    def usage(self) -> Usage:
        """Return the calls of language models so far."""
        return Usage(llm_calls=self._calls)


class _CallCounter(BaseEventHandler):
    """Count the answers of language models."""

    _calls: int = PrivateAttr(default=0)

    @property
    def calls(self) -> int:
        """The answers so far."""
        return self._calls

    def handle(self, event: BaseEvent, **_rest: Any) -> None:
        """Count an event where it ends a call."""
        self._calls += isinstance(event, LLMChatEndEvent | LLMCompletionEndEvent)


@contextmanager
def _counted() -> Iterator[_CallCounter]:
    """Count the calls of language models within the block."""
    counter = _CallCounter()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(counter)
    try:
        yield counter
    finally:
        dispatcher.event_handlers[:] = [handler for handler in dispatcher.event_handlers if handler is not counter]


def _found(node: NodeWithScore) -> FoundText:
    inner = node.node
    names = (inner.ref_doc_id, *(inner.metadata.get(key) for key in _NAME_KEYS))
    return FoundText(unit=inner.node_id, names=names, content=inner.get_content(MetadataMode.NONE), score=node.score)
