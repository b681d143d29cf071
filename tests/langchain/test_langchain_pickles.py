"""LangChain's store, retriever and embeddings are pickled by path and settings, without secrets."""

from __future__ import annotations

import copy
import pickle

import pytest

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag.errors import StoreError

KEY = "sk-very-secret"


def pickled(value):
    return pickle.loads(pickle.dumps(value))


@pytest.fixture
def embeddings(words):
    return ReasonEmbedEmbeddings(model="words")


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_store_with_a_path_answers_as_before_and_so_do_its_retriever_and_the_retriever_of_its_folder(
    embeddings, tmp_path, copied
):
    store = ReasonEmbedVectorStore.from_texts(["cats", "dogs"], embeddings, path=tmp_path / "index")
    found = store.similarity_search("cats", k=1)
    assert copied(store).similarity_search("cats", k=1) == found
    assert copied(store.as_retriever(search_kwargs={"k": 1})).invoke("cats") == found
    retriever = ReasonEmbedRetriever(index=str(tmp_path / "index"), k=1)
    wanted = retriever.invoke("cats")
    assert copied(retriever).invoke("cats") == wanted


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_store_in_memory_names_the_way_to_a_path(embeddings, copied):
    with pytest.raises(StoreError, match=r"\bcopy_to\b"):
        copied(ReasonEmbedVectorStore.from_texts(["one"], embeddings))


def test_a_key_is_in_no_pickle_and_is_read_again_from_the_environment(monkeypatch):
    spec = {"model": "m", "pooling": "mean", "attention": "causal", "dimension": 4}
    server = {"base_url": "http://localhost:8000/v1", "server_spec": spec}
    monkeypatch.delenv("REASONEMBED_API_KEY", raising=False)
    for value in (ReasonEmbedEmbeddings(api_key=KEY, **server), ReasonEmbedRetriever(index="i", api_key=KEY)):
        assert KEY.encode() not in pickle.dumps(value)
        assert pickled(value).api_key is None
        assert copy.deepcopy(value).api_key.get_secret_value() == KEY
        with monkeypatch.context() as environment:
            environment.setenv("REASONEMBED_API_KEY", "another")
            assert pickled(value).api_key.get_secret_value() == "another"
