"""The stages of a pipeline as spans and events of LlamaIndex's instrumentation, and what they found as nodes."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.vector_stores.reasonembed import node_of
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id

from reasonembed_rag.hits import Hits
from reasonembed_stores import StagedHits

__all__ = ["StageSpans", "nodes_of", "staged_nodes"]

_dispatcher = get_dispatcher(__name__)

_FIRST_SCORE = "reasonembed_retrieval_score"


class StageSpans:
    """A SearchObserver: a span for each search of a stage, within that of the stage around it, and its events."""

    def __init__(self, retriever: BaseRetriever) -> None:
        self._retriever = retriever

    @contextmanager
    def __call__(self, name: str, queries: Sequence[str]) -> Iterator[Callable[[list[Hits]], object]]:
        """Enter a span named for the stage; leave it with the nodes of all queries, or the error."""
        query = "\n\n".join(queries)
        span = f"{type(self._retriever).__name__}.stage:{name}-{uuid.uuid4()}"
        asked = inspect.signature(_asked).bind(query)
        parent = active_span_id.get()
        token = active_span_id.set(span)
        tags = {**active_instrument_tags.get(), "stage": name}
        _dispatcher.span_enter(span, asked, instance=self._retriever, parent_id=parent, tags=tags)
        _dispatcher.event(RetrievalStartEvent(str_or_query_bundle=query, tags=tags))
        found: list[NodeWithScore] = []
        try:
            yield lambda lists: found.extend(node for hits in lists for node in nodes_of(hits))
            _dispatcher.event(RetrievalEndEvent(str_or_query_bundle=query, nodes=found, tags=tags))
            _dispatcher.span_exit(span, asked, instance=self._retriever, result=found)
        except BaseException as error:
            _dispatcher.event(SpanDropEvent(span_id=span, err_str=str(error)))
            _dispatcher.span_drop(span, asked, instance=self._retriever, err=error)
            raise
        finally:
            active_span_id.reset(token)


def _asked(query: str) -> None:
    """Have the signature of a stage's search."""


def nodes_of(hits: Hits) -> list[NodeWithScore]:
    """Return hits as nodes; without text where the stage does not know it."""
    return [
        NodeWithScore(node=TextNode(id_=hit.id) if hit.document is None else node_of(hit.document), score=hit.score)
        for hit in hits
    ]


def staged_nodes(found: StagedHits) -> list[NodeWithScore]:
    """Return what a pipeline found as nodes, with the scores of its retriever in their metadata."""
    nodes = nodes_of(found.hits)
    for identity, scored in zip(found.hits.ids, nodes, strict=True):
        if identity in found.first_scores:
            scored.node.metadata[_FIRST_SCORE] = found.first_scores[identity]
            scored.node.excluded_embed_metadata_keys = [*scored.node.excluded_embed_metadata_keys, _FIRST_SCORE]
            scored.node.excluded_llm_metadata_keys = [*scored.node.excluded_llm_metadata_keys, _FIRST_SCORE]
    return nodes
