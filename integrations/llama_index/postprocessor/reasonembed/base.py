"""ReasonEmbedPostprocessor: the core's hit filters as a LlamaIndex node postprocessor."""

from __future__ import annotations

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from reasonembed_rag import Document
from reasonembed_rag.pipeline import HitFilter, keep_through

__all__ = ["ReasonEmbedPostprocessor"]


class ReasonEmbedPostprocessor(BaseNodePostprocessor):
    """Keep the retrieved nodes that every filter keeps, in their order.

    Use it wherever LlamaIndex takes node_postprocessors (index.as_query_engine), or with `around`.
    """

    filters: tuple[HitFilter, ...]
    """TrustFilter, HubnessGuard, NearDuplicateFilter of reasonembed_rag.pipeline, or your own; each sees what the one
    before it kept."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name by which LlamaIndex stores the class."""
        return "ReasonEmbedPostprocessor"

    def around(self, retriever: BaseRetriever) -> BaseRetriever:
        """Return a retriever of the nodes that another finds and that pass the filters."""
        return _PostprocessedRetriever(retriever, self)

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        del query_bundle
        plain = [Document(node.node.node_id, node.node.get_content(MetadataMode.NONE)) for node in nodes]
        return [nodes[position] for position in keep_through(self.filters, plain)]


class _PostprocessedRetriever(BaseRetriever):
    """A retriever and the postprocessor behind it."""

    def __init__(self, base: BaseRetriever, postprocessor: ReasonEmbedPostprocessor) -> None:
        super().__init__(callback_manager=base.callback_manager)
        self._base = base
        self._postprocessor = postprocessor

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._postprocessor.postprocess_nodes(self._base.retrieve(query_bundle), query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._base.aretrieve(query_bundle)
        return await self._postprocessor.apostprocess_nodes(found, query_bundle)
