"""ReasonEmbedRetriever for LlamaIndex: events, query engines, and loops that never block."""

from __future__ import annotations

import asyncio

import pytest
from blockbuster import blockbuster_ctx
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

from reasonembed_rag import Document, Encoder
from reasonembed_rag.errors import InputError
from reasonembed_stores import FaissStore


@pytest.fixture
def index(tmp_path, words):
    path = str(tmp_path / "index")
    texts = [f"passage about topic {n % 5}, number {n}" for n in range(30)]
    documents = [Document(f"d{n:02}", text, {"n": n}) for n, text in enumerate(texts)]
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(documents, words.encode_documents(texts))
    return path


def test_it_is_a_llama_index_retriever():
    assert BaseRetriever.__name__ in [base.__name__ for base in ReasonEmbedRetriever.__mro__]


def test_it_survives_a_dict(index):
    retriever = ReasonEmbedRetriever(index, k=3, task="pony", filters={"n": 4}, model="words", dtype="float32")
    assert ReasonEmbedRetriever.from_dict(retriever.to_dict()).to_dict() == retriever.to_dict()


def test_unknown_settings_are_refused(index):
    for call in (lambda: ReasonEmbedRetriever(index, kk=3), lambda: ReasonEmbedRetriever(index).retrieve("q", kk=3)):
        with pytest.raises(InputError, match="'kk'"):
            call()


def test_a_k_that_is_not_a_count_is_refused_when_it_is_given(index):
    with pytest.raises(InputError, match=r"\bk\b.*\b0\b"):
        ReasonEmbedRetriever(index, k=0)
    with pytest.raises(InputError, match=r"\bk\b.*'3'"):
        ReasonEmbedRetriever(index).retrieve("q", k="3")


def test_a_change_in_one_call_does_not_reach_the_next(index):
    retriever = ReasonEmbedRetriever(index, k=5)
    assert len(retriever.retrieve("topic 1", k=2, filters={"n": {"$lt": 9}})) == 2
    assert len(retriever.retrieve("topic 1")) == 5
    with pytest.raises(InputError):
        retriever.retrieve("topic 1", k=0)
    assert len(retriever.retrieve("topic 1")) == 5


def test_filters_of_llama_index_are_taken_and_survive_a_dict(index):
    some = [MetadataFilter(key="n", value=3, operator="<"), MetadataFilter(key="n", value=1, operator="!=")]
    retriever = ReasonEmbedRetriever(index, filters=MetadataFilters(filters=some))
    assert {node.node_id for node in retriever.retrieve("q")} == {"d00", "d02"}
    assert {node.node_id for node in ReasonEmbedRetriever.from_dict(retriever.to_dict()).retrieve("q")} == {
        "d00",
        "d02",
    }
    none = MetadataFilters(filters=some, condition="not")
    assert {node.node_id for node in retriever.retrieve("q", k=30, filters=none)} == set()


async def test_concurrent_calls_keep_their_own_changes(index):
    retriever = ReasonEmbedRetriever(index)
    found = await asyncio.gather(*(retriever.aretrieve("topic 1", k=k) for k in range(1, 9)))
    assert [len(nodes) for nodes in found] == list(range(1, 9))


def test_several_texts_of_one_question_are_averaged(index, words):
    bundle = QueryBundle("x", custom_embedding_strs=["topic 1", "topic 2"])
    words.calls.clear()
    ReasonEmbedRetriever(index).retrieve(bundle)
    assert words.calls == [("queries", ["topic 1", "topic 2"])]


def test_it_serves_query_engines_and_postprocessors(index):
    retriever = ReasonEmbedRetriever(index, k=4)
    scores = [node.score for node in retriever.retrieve("topic 1")]
    cut = SimilarityPostprocessor(similarity_cutoff=(scores[1] + scores[2]) / 2)
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM(), node_postprocessors=[cut])
    assert len(engine.query("topic 1").source_nodes) == 2


def test_it_tells_events(index):
    import llama_index.core.instrumentation as instrument
    from llama_index.core.instrumentation.event_handlers import BaseEventHandler

    names = []

    class Handler(BaseEventHandler):
        @classmethod
        def class_name(cls):
            return "Handler"

        def handle(self, event, **kwargs):
            names.append(event.class_name())

    handler = Handler()
    instrument.get_dispatcher().add_event_handler(handler)
    try:
        ReasonEmbedRetriever(index).retrieve("q")
    finally:
        instrument.get_dispatcher().event_handlers.remove(handler)
    assert names == ["RetrievalStartEvent", "RetrievalEndEvent"]


async def test_no_asynchronous_path_blocks_the_loop_not_even_loading_the_model(tmp_path, tiny_model):
    folder = str(tiny_model("bert", pooling="mean"))
    spec = Encoder.from_pretrained(folder, dtype="float32").spec
    with FaissStore.create(tmp_path / "index", spec=spec):
        pass
    embedding = ReasonEmbedEmbedding(model_name=folder, dtype="float32", cache=str(tmp_path / "cache"))
    store = ReasonEmbedVectorStore(path=str(tmp_path / "index"))
    with blockbuster_ctx():
        vector = await embedding.aget_query_embedding("fox")
        await embedding.aget_text_embedding("fox")
        await embedding.aget_text_embedding_batch(["fox", "dog"])
        await embedding.aget_agg_embedding_from_queries(["fox", "dog"])
        await embedding.acall([TextNode(text="fox")])
        await store.async_add([TextNode(id_="a", text="fox", embedding=vector)])
        await store.aquery(VectorStoreQuery(query_embedding=vector))
        await store.aget_nodes(["a"])
        retriever = ReasonEmbedRetriever(str(tmp_path / "index"), dtype="float32")
        found = await asyncio.gather(*(retriever.aretrieve("fox") for _ in range(5)))
        assert [[node.node_id for node in nodes] for nodes in found] == [["a"]] * 5
        await store.adelete_nodes(["a"])
        await store.adelete("none")
        await store.aclear()
