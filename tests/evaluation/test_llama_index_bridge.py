"""LlamaIndex components are asked through LlamaIndex, and score what the core scores."""

import numpy as np
import pytest

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed")

from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.retrievers.reasonembed import LlamaIndexRag, as_retriever

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.evaluation.rag import evaluate_context
from reasonembed_rag.evaluation.report import System
from reasonembed_rag.evaluation.run import RunOptions, run_retriever
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.retrieval import EmbeddingFunctions

_TEXTS = ["tides rise with the moon", "a list grows", "the moon is far", "defaults are shared", "tides", "calls"]
_DOCUMENTS = [Document(f"d{n}/({n})", text) for n, text in enumerate(_TEXTS)]
_TASK = RetrievalTask(
    "toy",
    None,
    tuple(_DOCUMENTS),
    (
        Example("1", "why do tides rise", ("d0/(0)",), ("d4/(4)", "absent")),
        Example("2", "how far is the moon", ("d2/(2)",)),
        Example("3", "shared calls", ("d3/(3)",), ("d5/(5)",)),
    ),
)


def _letters(text):
    counts = np.asarray([text.count(chr(97 + i)) for i in range(26)], dtype=np.float64)
    return (counts / np.linalg.norm(counts)).astype(np.float32).tolist()


class _Letters(BaseEmbedding):
    def _get_query_embedding(self, query):
        return _letters(query)

    async def _aget_query_embedding(self, query):
        return _letters(query)

    def _get_text_embedding(self, text):
        return _letters(text)


def _index():
    nodes = [TextNode(id_=document.id, text=document.content) for document in _DOCUMENTS]
    return VectorStoreIndex(nodes, embed_model=_Letters())


def _core(k=3):
    retriever = EmbeddingFunctions(
        _DOCUMENTS, embed_documents=lambda texts: [_letters(text) for text in texts], embed_query=_letters
    )
    return [result.hits.ids for result in run_retriever(retriever, _TASK, options=RunOptions(k=k)).results]


_COMPONENTS = {"embed_model": _Letters, "index": _index, "retriever": lambda: _index().as_retriever(similarity_top_k=1)}


@pytest.mark.parametrize("use_async", [False, True])
@pytest.mark.parametrize("kind", _COMPONENTS)
def test_every_component_finds_what_the_core_finds_with_exclusions_before_the_cut(kind, use_async):
    retriever = as_retriever(_COMPONENTS[kind](), _DOCUMENTS, use_async=use_async)
    run = run_retriever(retriever, _TASK, options=RunOptions(k=3))
    assert [result.hits.ids for result in run.results] == _core()


def test_a_retriever_s_own_settings_stay_as_they_were():
    retriever = _index().as_retriever(similarity_top_k=1)
    run_retriever(as_retriever(retriever, _DOCUMENTS), _TASK, options=RunOptions(k=4))
    assert retriever.similarity_top_k == 1


class _Fixed(BaseRetriever):
    def __init__(self, nodes):
        super().__init__()
        self.nodes = nodes

    def _retrieve(self, query_bundle):
        return self.nodes


def _node(identity, text, *, of=None, score=None):
    node = TextNode(id_=identity, text=text)
    if of:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=of)
    return NodeWithScore(node=node, score=score)


def test_nodes_of_one_document_are_one_and_texts_are_known_by_content():
    nodes = [
        _node("n1", "tides", of="d0/(0)", score=0.9),
        _node("n2", "rise", of="d0/(0)", score=0.8),
        _node("n3", "a list grows", score=0.7),
    ]
    hits = as_retriever(_Fixed(nodes), _DOCUMENTS).search(["q"], k=5)[0]
    assert hits.ids == ("d0/(0)", "d1/(1)")
    assert hits.scores.tolist() == pytest.approx([0.9, 0.7])


def test_anything_else_is_refused():
    with pytest.raises(InputError, match=r"\bint\b.*\bembed_model\b"):
        as_retriever(3, _DOCUMENTS)


def test_an_engine_s_context_is_its_source_nodes_and_its_calls_are_counted():
    engine = RetrieverQueryEngine.from_args(_index().as_retriever(similarity_top_k=2), llm=MockLLM(max_tokens=5))
    pipeline = LlamaIndexRag(engine, _DOCUMENTS)
    context = pipeline.answer("tides")
    assert context.documents[0] == Document("d4/(4)", "tides")
    assert len(context.documents) == 2
    assert context.answer
    assert pipeline.usage().llm_calls == 1
    report = evaluate_context(pipeline, _TASK, system=System(name="engine", through="llama-index"))
    assert report.report.usage.llm_calls == 4
    assert 0 < report.recall <= 1


def test_calls_of_language_models_within_a_retriever_are_counted():
    class Rewriting(_Fixed):
        def _retrieve(self, query_bundle):
            MockLLM(max_tokens=3).complete(query_bundle.query_str)
            return self.nodes

    retriever = as_retriever(Rewriting([_node("d4/(4)", "tides")]), _DOCUMENTS)
    run = run_retriever(retriever, _TASK, options=RunOptions(k=2))
    assert run.usage.llm_calls == 3
    MockLLM(max_tokens=3).complete("outside")
    assert retriever.usage().llm_calls == 3


def test_parts_of_one_document_are_one_document_of_the_context():
    nodes = [_node("n1", "tides", of="d0/(0)"), _node("n2", "rise", of="d0/(0)"), _node("n3", "?", of="d2/(2)")]
    engine = RetrieverQueryEngine.from_args(_Fixed(nodes), llm=MockLLM(max_tokens=5))
    context = LlamaIndexRag(engine, _DOCUMENTS).answer("q")
    assert context.documents == (Document("d0/(0)", "tides\nrise"), Document("d2/(2)", "?"))
