"""ReasonEmbedRetriever for LlamaIndex with the stages of a pipeline: scores, filters, spans, a query engine."""

from __future__ import annotations

import asyncio
import pickle

import pytest
from blockbuster import blockbuster_ctx
from llama_index.core import instrumentation
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import CustomLLM, LLMMetadata, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode, QueryBundle
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever, as_retriever
from pydantic import PrivateAttr
from stub_stages import Backwards, Topic

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline import Pipeline, PipelineStage, VectorFeedback
from reasonembed_stores import FaissStore, IndexRetriever

TEXTS = [f"passage about topic {n % 5}, number {n}" for n in range(30)]
DOCUMENTS = [Document(f"d{n:02}", text, {"n": n}) for n, text in enumerate(TEXTS)]
SCORE = "reasonembed_retrieval_score"


class SaysLast(CustomLLM):
    """Rank the last of two documents first."""

    @property
    def metadata(self):
        return LLMMetadata(context_window=4096, model_name="says-last")

    @llm_completion_callback()
    def complete(self, prompt, formatted=False, **kwargs):
        from llama_index.core.llms import CompletionResponse

        return CompletionResponse(text="[2] > [1]")

    @llm_completion_callback()
    def stream_complete(self, prompt, formatted=False, **kwargs):
        raise NotImplementedError


@pytest.fixture
def index(tmp_path, words):
    path = str(tmp_path / "index")
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents(TEXTS))
    return path


def ids(nodes):
    return [node.node.node_id for node in nodes]


def test_a_reranker_gives_the_order_and_both_scores_stay(index):
    plain = ReasonEmbedRetriever(index, k=30).retrieve("topic 3")
    retriever = ReasonEmbedRetriever(index, k=30, rerank=Backwards())
    found = retriever.retrieve("topic 3")
    assert ids(found) == ids(plain)[::-1]
    first = {node.node.node_id: node.score for node in plain}
    for rank, node in enumerate(found):
        assert node.score == 29.0 - rank
        assert node.node.metadata[SCORE] == pytest.approx(first[node.node.node_id], abs=1e-5)
        assert node.node.metadata["n"] == int(node.node.node_id[1:])
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert SCORE not in node.node.get_content(mode)
    again = asyncio.run(retriever.aretrieve("topic 3"))
    assert [(node.node.node_id, node.score) for node in again] == [(node.node.node_id, node.score) for node in found]


def test_filters_exclusions_and_k_hold_within_stages(index):
    retriever = ReasonEmbedRetriever(index, k=4, rerank=Backwards(), filters={"n": {"$lt": 20}})
    found = retriever.retrieve("topic 3", excluded_ids=["d03"])
    assert len(found) == 4
    assert set(ids(found)) <= {f"d{n:02}" for n in range(20)} - {"d03"}
    assert all(node.node.metadata["n"] >= 20 for node in retriever.retrieve("topic 3", filters={"n": {"$gte": 20}}))
    assert as_retriever(retriever, DOCUMENTS).search(["topic 3"], k=2, excluded_ids=[["d03"]])[0].ids


@pytest.mark.parametrize("form", ["file", "stages", "own", "name"])
def test_a_pipeline_is_given_in_every_form(index, tmp_path, form):
    (tmp_path / "pipeline.toml").write_text('[[stage]]\nkind = "vector-feedback"\n')
    stages = (PipelineStage("vector-feedback", VectorFeedback),)
    forms = {
        "file": {"index": index, "pipeline": tmp_path / "pipeline.toml"},
        "stages": {"index": index, "pipeline": stages},
        "own": {"pipeline": Pipeline(IndexRetriever(index), stages)},
        "name": {"index": index, "expand": "vector-feedback"},
    }
    found = ReasonEmbedRetriever(**forms[form], k=5).retrieve("topic 3")
    (expected,) = VectorFeedback(IndexRetriever(index)).search(["topic 3"], k=5)
    assert ids(found) == list(expected.ids)


def test_hybrid_is_another_name_of_the_weight_of_words(index):
    found = ReasonEmbedRetriever(index, hybrid=0.25).retrieve("topic 3")
    assert found == ReasonEmbedRetriever(index, bm25_weight=0.25).retrieve("topic 3")
    assert found == ReasonEmbedRetriever(index).retrieve("topic 3", hybrid=0.25)


def test_an_llm_of_llama_index_reranks(index):
    plain = ids(ReasonEmbedRetriever(index, k=2).retrieve("topic 3"))
    few = {"n": {"$in": [int(name[1:]) for name in plain]}}
    found = ids(ReasonEmbedRetriever(index, k=2, rerank="chat", chat=SaysLast(), filters=few).retrieve("topic 3"))
    assert found == plain[::-1]


class Events(BaseEventHandler):
    """Note events."""

    _seen: list = PrivateAttr(default_factory=list)

    def handle(self, event, **kwargs):
        self._seen.append((event.class_name(), event.tags.get("stage")))


@pytest.fixture
def watched():
    spans, events, dispatcher = SimpleSpanHandler(), Events(), instrumentation.get_dispatcher()
    dispatcher.add_span_handler(spans)
    dispatcher.add_event_handler(events)
    yield spans, events._seen
    dispatcher.span_handlers.remove(spans)
    dispatcher.event_handlers.remove(events)


@pytest.mark.parametrize("is_async", [False, True])
def test_each_stage_has_a_span_within_that_of_the_one_around_it(index, watched, is_async):
    spans, events = watched
    retriever = ReasonEmbedRetriever(index, k=2, expand=Topic(), rerank=Backwards())
    _ = asyncio.run(retriever.aretrieve("why?")) if is_async else retriever.retrieve("why?")
    name_of = {span.id_: span.id_[: -len("-00000000-0000-0000-0000-000000000000")] for span in spans.completed_spans}
    parents = {name_of[span.id_]: name_of.get(span.parent_id) for span in spans.completed_spans}
    own = "ReasonEmbedRetriever"
    assert parents[f"{own}.stage:retrieve"] == f"{own}.stage:expand"
    assert parents[f"{own}.stage:expand"] == f"{own}.stage:rerank"
    assert parents[f"{own}.stage:rerank"] in {f"{own}._retrieve", f"{own}.aretrieve"}
    staged = [(name, stage) for name, stage in events if stage]
    order = ["rerank", "expand", "retrieve"]
    assert staged == [("RetrievalStartEvent", stage) for stage in order] + [
        ("RetrievalEndEvent", stage) for stage in order[::-1]
    ]


def test_the_span_of_a_stage_that_fails_is_dropped(index, watched):
    class Broken:
        def rerank(self, queries, hits, *, k=None):
            raise RuntimeError("no reranking today")

    spans, events = watched
    with pytest.raises(RuntimeError, match="today"):
        ReasonEmbedRetriever(index, rerank=Broken()).retrieve("q")
    assert any(span.id_.startswith("ReasonEmbedRetriever.stage:rerank-") for span in spans.dropped_spans)
    assert ("RetrievalEndEvent", "retrieve") in events
    assert ("RetrievalEndEvent", "rerank") not in events


def test_a_query_engine_answers_from_what_the_stages_found(index):
    retriever = ReasonEmbedRetriever(index, k=1, rerank=Backwards())
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    response = engine.query("topic 3")
    assert ids(response.source_nodes) == ids(retriever.retrieve("topic 3"))
    assert response.source_nodes[0].node.text in str(response)  # MockLLM repeats its prompt
    assert SCORE not in str(response)
    assert str(asyncio.run(engine.aquery("topic 3"))) == str(response)


def test_the_event_loop_is_never_blocked_by_stages(index):
    async def ask():
        retriever = ReasonEmbedRetriever(index, k=2, expand="vector-feedback")
        with blockbuster_ctx():
            return await asyncio.gather(*(retriever.aretrieve(f"topic {n % 5}") for n in range(5)))

    assert all(len(found) == 2 for found in asyncio.run(ask()))


def test_names_of_stages_survive_a_dict_and_a_pickle(index):
    retriever = ReasonEmbedRetriever(index, k=3, expand="vector-feedback", hybrid=0.25)
    found = retriever.retrieve("topic 1")
    assert ReasonEmbedRetriever.from_dict(retriever.to_dict()).retrieve("topic 1") == found
    assert pickle.loads(pickle.dumps(retriever)).retrieve("topic 1") == found


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"pipeline": "p.toml", "rerank": "x/y"}, "pipeline and rerank"),
        ({"pipeline": 3}, "pipeline is 3"),
        ({"hybrid": 0.25, "bm25_weight": 0.5}, "both hybrid and bm25_weight"),
        ({"expand": "resoning:m"}, "did you mean 'reasoning'"),
        ({"expand": "hyde"}, "asks a chat model"),
        ({"rerank": 3}, "want a name, or a Reranker"),
        ({"rerank": "x/y", "chat": MockLLM()}, "no stage asks a chat model"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_before_anything_is_opened(tmp_path, fields, told):
    with pytest.raises(InputError, match=told):
        ReasonEmbedRetriever(str(tmp_path / "missing"), **fields)


def test_what_stages_cannot_serve_is_refused(index):
    own = Pipeline(IndexRetriever(index))
    with pytest.raises(InputError, match=r"index and a Pipeline.*pipeline\.stages"):
        ReasonEmbedRetriever(index, pipeline=own)
    with pytest.raises(InputError, match="filters and a Pipeline"):
        ReasonEmbedRetriever(pipeline=own).retrieve("q", filters={"n": 3})
    with pytest.raises(InputError, match="got no index"):
        ReasonEmbedRetriever()
    with pytest.raises(InputError, match="query transform"):
        ReasonEmbedRetriever(index, rerank=Backwards()).retrieve(QueryBundle("q", custom_embedding_strs=["other"]))
    with pytest.raises(InputError, match="anthropic:x names no server"):
        ReasonEmbedRetriever(index, rerank="chat:anthropic:x").retrieve("q")
