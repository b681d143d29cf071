"""Rerankers and query expanders in LlamaIndex's own engines."""

from __future__ import annotations

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import TransformRetriever
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.postprocessor.reasonembed import ReasonEmbedRerank
from llama_index.retrievers.reasonembed import ReasonEmbedQueryTransform

from reasonembed_rag import Hit, Hits
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import ReplayedExpander

NODES = [
    TextNode(id_="cells", text="cells divide by mitosis", metadata={"topic": "biology"}),
    TextNode(id_="tides", text="tides follow the moon"),
    TextNode(id_="short", text="cells"),
]
SAID = ReplayedExpander({"what pulls the sea?": ["tides", "the moon"]})


class Shortest:
    """Rank short documents first."""

    def rerank(self, queries, hits, *, k=None):
        return [
            Hits.ranked((Hit(hit.id, -len(hit.document.content), hit.document) for hit in one), k=k) for one in hits
        ]


@pytest.fixture
def index(words):
    del words
    return VectorStoreIndex(NODES, embed_model=ReasonEmbedEmbedding(model_name="words"))


def test_a_reranker_reorders_nodes_and_keeps_the_first_score_out_of_what_models_read(index):
    found = index.as_retriever(similarity_top_k=3).retrieve("cells divide")
    ranked = ReasonEmbedRerank(reranker=Shortest(), top_n=2).postprocess_nodes(found, query_str="cells divide")
    assert [(node.node.node_id, node.score) for node in ranked] == [("short", -5.0), ("tides", -21.0)]
    first = {node.node.node_id: node.score for node in found}
    for node in ranked:
        assert node.node.metadata["reasonembed_retrieval_score"] == first[node.node.node_id]
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "reasonembed" not in node.node.get_content(mode)
    assert all("reasonembed_retrieval_score" not in node.node.metadata for node in found)


def test_it_works_in_a_query_engine(index):
    engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[ReasonEmbedRerank(reranker=Shortest(), top_n=1)])
    (node,) = engine.query("cells divide").source_nodes
    assert node.node.node_id == "short"


def test_without_a_query_it_says_what_it_wants(index):
    with pytest.raises(InputError, match="no query to rerank by"):
        ReasonEmbedRerank(reranker=Shortest()).postprocess_nodes(index.as_retriever().retrieve("cells"))


@pytest.mark.parametrize("combine", ["append", "replace", "mean"])
def test_an_expander_changes_what_is_embedded_and_not_what_is_asked(combine):
    bundle = ReasonEmbedQueryTransform(SAID, combine=combine).run("what pulls the sea?")
    assert bundle.query_str == "what pulls the sea?"
    assert (
        bundle.embedding_strs
        == {
            "append": ["what pulls the sea?\n\ntides\n\nthe moon"],
            "replace": ["tides\n\nthe moon"],
            "mean": ["what pulls the sea?", "tides", "the moon"],
        }[combine]
    )


def test_an_expander_stands_before_a_retriever(index):
    transform = ReasonEmbedQueryTransform(SAID, combine="replace")
    retriever = TransformRetriever(index.as_retriever(similarity_top_k=1), transform)
    assert retriever.retrieve("what pulls the sea?")[0].node.node_id == "tides"


def test_a_query_without_a_text_stays_and_an_unknown_combination_is_refused():
    assert ReasonEmbedQueryTransform(SAID).run("another").embedding_strs == ["another"]
    with pytest.raises(InputError, match=r"combine is 'lists'; .*one of append, replace, mean"):
        ReasonEmbedQueryTransform(SAID, combine="lists")
