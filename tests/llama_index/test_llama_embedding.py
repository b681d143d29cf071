"""ReasonEmbedEmbedding and ReasonEmbedRetriever for LlamaIndex."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import QueryBundle
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever

from langchain_reasonembed import ReasonEmbedRetriever as LangChainRetriever
from reasonembed_rag import Document
from reasonembed_stores import FaissStore


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def index(tmp_path, words):
    path = str(tmp_path / "index")
    documents = [Document(f"d{n:02}", f"document about topic {n % 7} and {n}", {"n": n}) for n in range(40)]
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(documents, words.encode_documents([document.content for document in documents]))
    return path


def test_it_is_a_llama_index_embedding():
    assert BaseEmbedding.__name__ in [base.__name__ for base in ReasonEmbedEmbedding.__mro__]


def test_queries_take_the_query_path_and_texts_the_document_path(words):
    embedding = ReasonEmbedEmbedding(model_name="words", task="pony")
    text = "line one\n    line two"
    np.testing.assert_array_equal(embedding.get_text_embedding_batch([text]), words.encode_documents([text]))
    np.testing.assert_array_equal(embedding.get_query_embedding(text), words.encode_queries([text], task="pony")[0])
    assert type(embedding.get_query_embedding(text)[0]) is float
    np.testing.assert_array_equal(embedding.encode_queries(text), embedding.get_query_embedding(text))
    np.testing.assert_array_equal(embedding.encode_documents(text), embedding.get_text_embedding(text))


def test_it_survives_to_dict_and_pickle():
    embedding = ReasonEmbedEmbedding(model_name="words", task="pony")
    again = ReasonEmbedEmbedding.from_dict(embedding.to_dict())
    assert again.to_dict() == embedding.to_dict()
    thawed = pickle.loads(pickle.dumps(embedding))
    assert thawed.get_query_embedding("q") == embedding.get_query_embedding("q")


def test_both_frameworks_give_the_same_ranking_and_scores(index):
    ours = ReasonEmbedRetriever(index, k=7, filters={"n": {"$gte": 5}}).retrieve("topic 3")
    theirs = LangChainRetriever(index=index, k=7, filters={"n": {"$gte": 5}}).invoke("topic 3")
    assert [(node.node_id, node.score) for node in ours] == [(d.id, d.metadata["score"]) for d in theirs]
    assert len(ours) == 7


async def test_a_call_may_change_settings_in_both_forms(index):
    retriever = pickle.loads(pickle.dumps(ReasonEmbedRetriever(index, k=7)))
    assert [n.node_id for n in retriever.retrieve("topic 3", k=2)] == [
        n.node_id for n in retriever.retrieve("topic 3")
    ][:2]
    assert [n.node_id for n in await retriever.aretrieve("topic 3", k=2)] == [
        n.node_id for n in retriever.retrieve("topic 3", k=2)
    ]


def test_a_vector_in_the_query_is_taken_as_it_is(index, words):
    retriever = ReasonEmbedRetriever(index)
    vector = words.encode_documents(["document about topic 3 and 3"])[0].tolist()
    words.calls.clear()
    assert retriever.retrieve(QueryBundle("nothing of the kind", embedding=vector))[0].node_id == "d03"
    assert not words.calls


def test_a_key_is_in_no_pickle_and_is_read_again_from_the_environment(monkeypatch):
    embedding = ReasonEmbedEmbedding(api_key="sk-very-secret")
    assert b"sk-very-secret" not in pickle.dumps(embedding)
    monkeypatch.setenv("REASONEMBED_API_KEY", "another")
    assert pickle.loads(pickle.dumps(embedding))._key() == "another"
