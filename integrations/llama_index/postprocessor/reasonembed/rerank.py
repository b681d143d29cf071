"""ReasonEmbedRerank: the core's rerankers as a LlamaIndex node postprocessor."""

from __future__ import annotations

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from pydantic import ConfigDict, Field

from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import rerank_texts
from reasonembed_rag.protocols import Reranker

__all__ = ["ReasonEmbedRerank"]


class ReasonEmbedRerank(BaseNodePostprocessor):
    """Put retrieved nodes in the order of a reranker: a CrossEncoder, a chat model's judgement, your own.

    Use it wherever LlamaIndex takes node_postprocessors. A node's score becomes the reranker's; the retriever's is in
    its metadata, "reasonembed_retrieval_score", which neither the model nor an embedding reads.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    reranker: Reranker
    top_n: int | None = Field(default=None, ge=1)
    """How many nodes are returned; None: all."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name by which LlamaIndex stores the class."""
        return "ReasonEmbedRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise InputError("got no query to rerank by; want postprocess_nodes(nodes, query_str=...)")
        texts = [node.node.get_content(MetadataMode.NONE) for node in nodes]
        ranked = rerank_texts(self.reranker, query_bundle.query_str, texts, k=self.top_n)
        return [_rescored(nodes[position], score) for position, score in ranked]


_SCORE = "reasonembed_retrieval_score"


def _rescored(found: NodeWithScore, score: float) -> NodeWithScore:
    hidden = {
        name: [*getattr(found.node, name), _SCORE]
        for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
    }
    node = found.node.model_copy(update={"metadata": found.node.metadata | {_SCORE: found.score}, **hidden})
    return NodeWithScore(node=node, score=score)
