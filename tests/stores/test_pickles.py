"""Stores, retrievers and encoders are pickled by path and settings, without secrets; copies are made the same way."""

from __future__ import annotations

import copy
import multiprocessing
import pickle

import numpy as np
import pytest

from reasonembed_rag import Document, Encoder
from reasonembed_rag.encoder import EncoderSettings, RemoteEncoder, SharedEncoder, VectorCache, shared_encoder
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.spec import EmbeddingSpec
from reasonembed_stores import FaissStore, IndexModel, IndexRetriever

KEY = "sk-very-secret"
SPEC = EmbeddingSpec(
    model="served", pooling="mean", attention="bidirectional", max_query_length=9, max_document_length=9, dimension=4
)
WAYS = [
    lambda value: pickle.loads(pickle.dumps(value)),
    copy.copy,
    copy.deepcopy,
]


@pytest.fixture
def path(tmp_path, words):
    with FaissStore.create(tmp_path / "store", spec=words.spec) as store:
        store.upsert([Document("a", "cats"), Document("b", "dogs")], words.encode_documents(["cats", "dogs"]))
    return tmp_path / "store"


@pytest.mark.parametrize("copied", WAYS)
def test_a_store_with_a_path_is_opened_again_and_reads_until_it_writes(path, words, copied):
    with FaissStore.open(path, spec=words.spec) as store:
        store.upsert([Document("c", "birds")], words.encode_documents(["birds"]))  # committed, not saved
        again = copied(store)
        assert again is not store
        assert list(again) == list(store)
        with pytest.raises(StoreError, match="another process or store object"):
            again.delete(["a"])
        store.save()
        again.delete(["a"])
        assert [document.id for document in store] == ["b", "c"]
        again.close()


@pytest.mark.parametrize("copied", WAYS)
def test_a_store_in_memory_names_the_way_to_a_path(copied):
    with pytest.raises(StoreError, match=r"\bcopy_to\b"):
        copied(FaissStore.create(dimension=4))


def test_the_spec_is_checked_where_a_pickle_is_read(path, words, make_embedder):
    with FaissStore.open(path, spec=words.spec) as store:
        frozen = pickle.dumps(store)
    path.rename(path.with_name("old"))
    with pytest.raises(StoreError, match="/store"):
        pickle.loads(frozen)
    FaissStore.create(path, spec=make_embedder(model="other").spec).close()
    with pytest.raises(SpecMismatchError, match="other"):
        pickle.loads(frozen)


@pytest.mark.parametrize("copied", WAYS)
def test_a_retriever_is_pickled_by_its_index_model_and_settings(path, words, copied):
    settings = {"task": None, "instruction": "find", "filters": {"a": 1}}
    retriever = copied(IndexRetriever(str(path), **settings))
    assert {name: getattr(retriever, name) for name in settings} == settings
    retriever = IndexRetriever(str(path))
    wanted = retriever.search(["cats"], k=1)[0].ids
    assert copied(retriever).search(["cats"], k=1)[0].ids == wanted == ("a",)
    with FaissStore.open(path) as store:
        assert copied(IndexRetriever(store)).search(["cats"], k=1)[0].ids == wanted


def _search(store, vectors):
    return store.search(vectors, k=1)[0].ids


def test_a_store_is_an_argument_of_a_spawned_process(path, words):
    vectors = words.encode_queries(["cats"])
    with FaissStore.open(path) as store, multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply_async(_search, (store, vectors)).get(timeout=60) == _search(store, vectors)


@pytest.mark.parametrize("copied", WAYS)
def test_an_encoder_is_loaded_again_by_its_settings(tiny_model, tmp_path, copied):
    cache = VectorCache(tmp_path / "cache", max_bytes=1 << 20)
    encoder = Encoder.from_pretrained(tiny_model("qwen3"), truncate_dim=16, cache=cache)
    wanted = encoder.encode_queries(["a question"])
    again = copied(encoder)
    assert again.spec == encoder.spec
    assert np.array_equal(again.encode_queries(["a question"]), wanted)
    assert again.tokens_encoded == 0  # out of the cache


@pytest.mark.parametrize("copied", WAYS)
def test_a_shared_encoder_is_that_of_the_process(tiny_model, words, copied):
    for settings in (EncoderSettings(model=str(tiny_model("qwen3"))), EncoderSettings(model="words")):
        assert copied(shared_encoder(settings)) is shared_encoder(settings)
    with pytest.raises(InputError, match="embedder"):
        copied(SharedEncoder(lambda: words))


def test_no_pickle_holds_a_key_and_each_takes_that_of_its_environment(monkeypatch):
    url = "http://localhost:8000/v1"
    settings = EncoderSettings(model="m", base_url=url, server_spec=SPEC, api_key=KEY)
    remote, model = RemoteEncoder(url, "m", SPEC, api_key=KEY), IndexModel(base_url=url, api_key=KEY)
    for value in (settings, remote, model, shared_encoder(settings), IndexRetriever("index", model)):
        assert KEY.encode() not in pickle.dumps(value)
        assert KEY not in repr(value)
    for held in (None, "another"):
        monkeypatch.delenv("REASONEMBED_API_KEY", raising=False)
        if held:
            monkeypatch.setenv("REASONEMBED_API_KEY", held)
        assert pickle.loads(pickle.dumps(settings)).api_key == held
        assert pickle.loads(pickle.dumps(model)).api_key == held
        assert pickle.loads(pickle.dumps(remote))._client.api_key == held
    assert copy.deepcopy(settings) == copy.copy(settings) == settings
    assert copy.deepcopy(model).api_key == KEY
    monkeypatch.setenv("MY_KEY", KEY)
    named = RemoteEncoder(url, "m", SPEC, api_key_env="MY_KEY")
    assert KEY.encode() not in pickle.dumps(named)
    assert pickle.loads(pickle.dumps(named))._client.api_key == KEY
