"""ReasonEmbedRetriever with the stages of a pipeline: scores, filters, tracing, a RAG chain, and what is refused."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps, loads
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from stub_stages import Backwards, Topic

from langchain_reasonembed import ReasonEmbedRetriever
from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import Pipeline, PipelineStage, RerankedRetriever, VectorFeedback, read_pipeline
from reasonembed_rag.retrieval import BM25
from reasonembed_stores import FaissStore, IndexRetriever

TEXTS = [f"passage about topic {n % 5}, number {n}" for n in range(30)]
FEEDBACK = '[[stage]]\nkind = "vector-feedback"\n'


@pytest.fixture
def folder(tmp_path, words):
    path = str(tmp_path / "index")
    documents = [Document(f"d{n:02}", text, {"n": n}) for n, text in enumerate(TEXTS)]
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(documents, words.encode_documents(TEXTS))
    return path


def ids(documents):
    return [document.id for document in documents]


def test_a_reranker_gives_the_order_and_both_scores_stay(folder):
    plain = ReasonEmbedRetriever(index=folder, k=30).invoke("topic 3")
    retriever = ReasonEmbedRetriever(index=folder, k=30, rerank=Backwards())
    found = retriever.invoke("topic 3")
    assert ids(found) == ids(plain)[::-1]
    first = {document.id: document.metadata["reasonembed_score"] for document in plain}
    for rank, document in enumerate(found):
        assert document.metadata["reasonembed_retrieval_score"] == pytest.approx(first[document.id], abs=1e-5)
        assert document.metadata["reasonembed_score"] == document.metadata["score"] == 29.0 - rank
        assert document.metadata["n"] == int(document.id[1:])
    assert asyncio.run(retriever.ainvoke("topic 3")) == found


def test_filters_exclusions_and_k_hold_within_stages(folder):
    retriever = ReasonEmbedRetriever(index=folder, k=4, rerank=Backwards(), filters={"n": {"$lt": 20}})
    found = retriever.invoke("topic 3", excluded_ids=["d03"])
    assert len(found) == 4
    assert {document.id for document in found} <= {f"d{n:02}" for n in range(20)} - {"d03"}
    assert all(document.metadata["n"] >= 20 for document in retriever.invoke("topic 3", filter={"n": {"$gte": 20}}))


def test_each_calls_filters_hold_for_words_that_a_stage_fuses_too(folder, tmp_path):
    (tmp_path / "pipeline.toml").write_text('[[stage]]\nkind = "fusion"\nweight = 0.9\n')
    retriever = ReasonEmbedRetriever(
        index=folder, k=30, pipeline=tmp_path / "pipeline.toml", filters={"n": {"$lt": 20}}
    )
    for filters, numbers in (({"n": {"$lt": 5}}, range(5)), ({"n": {"$gte": 25}}, range(25, 30)), (None, range(20))):
        found = retriever.invoke("topic 3", **({} if filters is None else {"filter": filters}))
        assert sorted(document.metadata["n"] for document in found) == list(numbers)
    assert retriever.invoke("topic 3", filter={"n": 99}) == []


@pytest.mark.parametrize("pipeline", ["file", "settings", "stages", "own"])
def test_a_pipeline_is_given_in_every_form(folder, tmp_path, pipeline):
    (tmp_path / "pipeline.toml").write_text(FEEDBACK)
    stages = (PipelineStage("vector-feedback", VectorFeedback),)
    forms = {
        "file": {"index": folder, "pipeline": tmp_path / "pipeline.toml"},
        "settings": {"index": folder, "pipeline": read_pipeline(tmp_path / "pipeline.toml")},
        "stages": {"index": folder, "pipeline": list(stages)},
        "own": {"pipeline": Pipeline(IndexRetriever(folder), stages)},
    }
    found = ReasonEmbedRetriever(**forms[pipeline], k=5).invoke("topic 3")
    (expected,) = VectorFeedback(IndexRetriever(folder)).search(["topic 3"], k=5)
    assert ids(found) == list(expected.ids)
    assert found == ReasonEmbedRetriever(index=folder, expand="vector-feedback", k=5).invoke("topic 3")


def test_hybrid_is_another_name_of_the_weight_of_words(folder):
    found = ReasonEmbedRetriever(index=folder, hybrid=0.25).invoke("topic 3")
    assert found == ReasonEmbedRetriever(index=folder, bm25_weight=0.25).invoke("topic 3")
    assert found == ReasonEmbedRetriever(index=folder).invoke("topic 3", hybrid=0.25)
    feedback = ReasonEmbedRetriever(index=folder, hybrid=0.25, expand="vector-feedback").invoke("topic 3")
    assert feedback[0].metadata["reasonembed_score"] > 0.75  # scaled from 0 to 1, as fused scores are


def test_a_chat_model_of_langchain_expands_and_reranks(folder):
    said = ["topic 4 is what the question is about", "[3] > [1] > [2]"]
    chat = FakeListChatModel(responses=said)
    retriever = ReasonEmbedRetriever(index=folder, k=3, expand="reasoning", rerank="chat", chat=chat)
    plain = ids(ReasonEmbedRetriever(index=folder, k=20).invoke(f"topic 3\n\n{said[0]}"))
    found = ids(retriever.with_config({}).invoke("topic 3"))
    assert len(found) == 3
    assert set(found) <= set(plain)


class Runs(BaseCallbackHandler):
    """Note each retriever's run: its name, its parent's, its query and what it found."""

    def __init__(self):
        self.names, self.started, self.ended, self.failed = {}, [], {}, []

    def on_retriever_start(self, serialized, query, *, run_id, parent_run_id=None, name=None, **rest):
        self.names[run_id] = name
        self.started.append((name, self.names.get(parent_run_id), query))

    def on_retriever_end(self, documents, *, run_id, **rest):
        self.ended[self.names[run_id]] = documents

    def on_retriever_error(self, error, *, run_id, **rest):
        self.failed.append(self.names[run_id])


@pytest.mark.parametrize("is_async", [False, True])
def test_each_stage_is_a_child_run(folder, is_async):
    retriever = ReasonEmbedRetriever(index=folder, k=2, expand=Topic(), rerank=Backwards())
    runs = Runs()
    config = {"callbacks": [runs], "run_name": "search"}
    found = asyncio.run(retriever.ainvoke("why?", config)) if is_async else retriever.invoke("why?", config)
    assert runs.started == [
        ("search", None, "why?"),
        ("rerank", "search", "why?"),
        ("expand", "rerank", "why?"),
        ("retrieve", "expand", "why?\n\ntopic 4"),
    ]
    assert ids(runs.ended["search"]) == ids(found)
    assert ids(runs.ended["rerank"]) == ids(found)
    assert set(ids(found)) < set(ids(runs.ended["retrieve"]))
    assert not runs.failed


def test_the_run_of_a_stage_that_fails_ends_with_its_error(folder):
    class Broken:
        def rerank(self, queries, hits, *, k=None):
            raise RuntimeError("no reranking today")

    runs = Runs()
    with pytest.raises(RuntimeError, match="today"):
        ReasonEmbedRetriever(index=folder, rerank=Broken()).invoke("q", {"callbacks": [runs], "run_name": "search"})
    assert runs.failed == ["rerank", "search"]
    assert "retrieve" in runs.ended


def test_a_rag_chain_answers_from_what_the_stages_found(folder):
    retriever = ReasonEmbedRetriever(index=folder, k=1, rerank=Backwards())
    (best,) = retriever.invoke("topic 3")
    asked = []
    prompt = ChatPromptTemplate.from_template("Context: {context}\nQuestion: {question}")
    chain = (
        {"context": retriever | (lambda found: found[0].page_content), "question": RunnablePassthrough()}
        | prompt
        | (lambda value: asked.append(value.to_string()) or value)
        | FakeListChatModel(responses=["It is 3."])
        | StrOutputParser()
    )
    assert chain.invoke("topic 3") == "It is 3."
    assert best.page_content in asked[0]
    assert asyncio.run(chain.ainvoke("topic 3")) == "It is 3."
    assert asked[0] == asked[1]


def test_the_event_loop_is_never_blocked_by_stages(folder, tmp_path):
    (tmp_path / "pipeline.toml").write_text(FEEDBACK)

    async def ask():
        retriever = ReasonEmbedRetriever(index=folder, k=2, pipeline=str(tmp_path / "pipeline.toml"))
        with blockbuster_ctx():
            return await asyncio.gather(*(retriever.ainvoke(f"topic {n % 5}") for n in range(5)))

    assert all(len(found) == 2 for found in asyncio.run(ask()))


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
def test_names_of_stages_are_serialised_and_pickled(folder, tmp_path):
    (tmp_path / "pipeline.toml").write_text(FEEDBACK)
    known = {"allowed_objects": [ReasonEmbedRetriever], "valid_namespaces": ["langchain_reasonembed"]}
    for fields in ({"pipeline": str(tmp_path / "pipeline.toml")}, {"expand": "vector-feedback", "hybrid": 0.25}):
        retriever = ReasonEmbedRetriever(index=folder, k=3, **fields)
        found = retriever.invoke("topic 1")
        assert loads(dumps(retriever), **known).invoke("topic 1") == found
        assert pickle.loads(pickle.dumps(retriever)).invoke("topic 1") == found


def _own(folder):
    return Pipeline(IndexRetriever(folder))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pipeline": "p.toml", "rerank": "x/y"}, "pipeline and rerank"),
        ({"pipeline": "p.toml", "chat": FakeListChatModel(responses=["a"])}, "pipeline and chat"),
        ({"hybrid": 0.25, "bm25_weight": 0.5}, "both hybrid and bm25_weight"),
        ({"expand": "resoning:m"}, "did you mean 'reasoning'"),
        ({"expand": "hyde"}, "asks a chat model"),
        ({"expand": "vector-feedback:m"}, "asks no model"),
        ({"expand": "hyde:a:b", "rerank": "chat:c:d"}, "a:b and c:d"),
        ({"rerank": "chta:openai:x"}, "did you mean 'chat'"),
        ({"rerank": "yes-no:"}, "yes-no:MODEL"),
        ({"rerank": " "}, "rerank is ' '"),
        ({"rerank": "x/y", "chat": FakeListChatModel(responses=["a"])}, "no stage asks a chat model"),
        ({"rerank": "chat:c:d", "chat": FakeListChatModel(responses=["a"])}, "leave one of them out"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_before_anything_is_opened(tmp_path, fields, told):
    with pytest.raises(ValueError, match=told):
        ReasonEmbedRetriever(index=str(tmp_path / "missing"), **fields)


def test_an_index_and_a_pipeline_that_brings_its_own_are_refused_together(folder):
    with pytest.raises(ValueError, match=r"index and a Pipeline.*pipeline\.stages"):
        ReasonEmbedRetriever(index=folder, pipeline=_own(folder))
    with pytest.raises(ValueError, match="filters and a Pipeline"):
        ReasonEmbedRetriever(pipeline=_own(folder), filters={"n": 3})
    with pytest.raises(ValueError, match="got no index"):
        ReasonEmbedRetriever()
    with pytest.raises(InputError, match="got filters"):
        ReasonEmbedRetriever(pipeline=_own(folder)).invoke("q", filters={"n": 3})
    assert len(ReasonEmbedRetriever(pipeline=_own(folder)).invoke("topic 3", k=2)) == 2


def test_what_cannot_be_searched_is_told_at_the_first_query(folder, tmp_path):
    with pytest.raises(InputError, match=r"gone\.toml"):
        ReasonEmbedRetriever(index=folder, pipeline=str(tmp_path / "gone.toml")).invoke("q")
    bare = Pipeline(BM25([Document("a", "topic")]), [PipelineStage("r", lambda inner: inner)])
    with pytest.raises(InputError, match="no documents"):
        ReasonEmbedRetriever(pipeline=bare).invoke("topic")
    with pytest.raises(InputError, match="'kk'"):
        ReasonEmbedRetriever(index=folder, rerank=Backwards()).invoke("q", kk=3)
    text = RerankedRetriever(IndexRetriever(folder), Backwards())
    with pytest.raises(ValueError, match="pipeline"):
        ReasonEmbedRetriever(index=folder, pipeline=text)
