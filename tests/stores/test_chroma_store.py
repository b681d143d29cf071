"""ChromaStore and our embedding function, in every client that Chroma has."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

import chromadb
import httpx
import numpy as np
import pytest

from reasonembed_rag import Document
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_stores import ChromaStore
from reasonembed_stores.chroma_embedding import ReasonEmbedFunction


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Start a real Chroma server on the loopback interface and give its port."""
    import pytest_socket

    pytest_socket.enable_socket()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    chroma = Path(sys.executable).with_name("chroma")
    folder = tmp_path_factory.mktemp("server")
    command = [chroma, "run", "--host", "127.0.0.1", "--port", str(port), "--path", folder]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def name():
    return f"c-{uuid.uuid4().hex}"


@pytest.mark.loopback
def test_a_server_on_loopback_holds_the_same_store(server, socket_enabled, name, words):
    client = chromadb.HttpClient(host="127.0.0.1", port=server)
    store = ChromaStore.create(client, collection=name, spec=words.spec)
    documents = [Document(f"d{n}", f"number {n}", {"n": n, "odd": {"deep": n % 2}}) for n in range(20)]
    store.upsert(documents, words.encode_documents([d.content for d in documents]))
    again = ChromaStore.open(client, collection=name, spec=words.spec)
    query = words.encode_documents(["number 7"])
    assert again.search(query, k=1)[0][0].document == documents[7]
    assert again.search(query, k=1, filters={"n": {"$gt": 7}})[0][0].document.metadata["n"] > 7
    assert again.delete(["d7", "absent"]) == 1
    assert len(again) == 19


def test_more_documents_than_one_batch_holds_are_added(name):
    store = ChromaStore.create(collection=name, dimension=2)
    size = store._client.get_max_batch_size() + 10
    angles = np.linspace(0, 1, size)
    store.upsert([Document(str(n), "") for n in range(size)], np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert len(store) == size
    assert store.delete([str(n) for n in range(size)]) == size


def test_what_chroma_cannot_hold_comes_back_as_it_was(name):
    store = ChromaStore.create(collection=name, dimension=2)
    documents = [
        Document("a", "", {}),
        Document("b", "x", {"none": None, "deep": {"y": [1, "z"]}, "n": 1}),
        Document("c", "x", {"": 1, "$d": 2, "big": 2**70, "empty": [], "mixed": [1, 2.5]}),
        Document("d", "x", {"l": ["p", "q"], "b": True, "f": 0.5}),
    ]
    store.upsert(documents, np.eye(4, 2) + 1)
    assert store.get(["d", "c", "b", "a"]) == documents[::-1]
    found = store.search(np.ones((1, 2)), k=9, filters={"mixed": {"$contains": 2.5}})[0]
    assert [hit.document.id for hit in found] == ["c"]
    assert [hit.document.id for hit in store.search(np.ones((1, 2)), k=9, filters={"n": 1})[0]] == ["b"]


def test_upsert_replaces_metadata_where_chroma_would_merge_it(name):
    store = ChromaStore.create(collection=name, dimension=2)
    store.upsert([Document("a", "one", {"x": 1, "y": [1, 2]})], np.ones((1, 2)))
    store.upsert([Document("a", "two", {"z": 3})], np.ones((1, 2)))
    assert store.get(["a"]) == [Document("a", "two", {"z": 3})]
    store.upsert([Document("a", "three")], np.ones((1, 2)))
    assert store.get(["a"]) == [Document("a", "three")]


def test_a_collection_of_another_space_is_refused(tmp_path, name):
    client = chromadb.PersistentClient(tmp_path)
    client.create_collection(name, embedding_function=None, configuration={"hnsw": {"space": "l2"}})
    with pytest.raises(StoreError, match=r"'l2'.*'cosine'"):
        ChromaStore.open(client, collection=name)


def test_opening_names_what_is_missing(tmp_path, name):
    with pytest.raises(StoreError, match=r"chroma\.sqlite3"):
        ChromaStore.open(tmp_path)
    assert list(tmp_path.iterdir()) == []
    ChromaStore.create(tmp_path / "c", collection=name)
    with pytest.raises(StoreError, match=rf"'reasonembed'.*\b{name}\b"):
        ChromaStore.open(tmp_path / "c")
    with pytest.raises(StoreError, match=name):
        ChromaStore.create(tmp_path / "c", collection=name)


def test_a_collection_that_exists_is_not_made_again(name):
    store = ChromaStore.create(collection=name, dimension=2)
    store.upsert([Document("a", "one")], np.ones((1, 2)))
    with pytest.raises(StoreError, match=name):
        ChromaStore.create(collection=name, dimension=2)
    assert repr(store) == f"<ChromaStore {name!r}: 1 documents, dimension 2>"


def test_an_unreachable_server_is_a_store_error(name, monkeypatch):
    store = ChromaStore.create(collection=name, dimension=2)

    def refuse(*_arguments, **_settings):
        raise httpx.ConnectError("[Errno 111] Connection refused")

    for owner, method in ((type(store._collection), "query"), (type(store._collection), "count")):
        monkeypatch.setattr(owner, method, refuse)
    monkeypatch.setattr(type(store._client), "get_max_batch_size", refuse)
    document = Document("a", "one")
    for ask in (
        lambda: store.search(np.ones((1, 2)), k=1),
        lambda: store.upsert([document], np.ones((1, 2))),
        lambda: store.delete(["a"]),
        lambda: len(store),
    ):
        with pytest.raises(StoreError, match="Connection refused"):
            ask()


def test_another_models_vectors_are_refused(name, words, make_embedder):
    ChromaStore.create(collection=name, spec=words.spec)
    client = chromadb.EphemeralClient()
    with pytest.raises(SpecMismatchError, match=r"'words'.*'others'"):
        ChromaStore.open(client, collection=name, spec=make_embedder(model="others").spec)


def test_a_wide_search_misses_no_neighbour(name):
    store = ChromaStore.create(collection=name, dimension=8)
    vectors = np.random.default_rng(0).standard_normal((1500, 8))
    store.upsert([Document(f"{n:04}", "") for n in range(1500)], vectors)
    hits = store.search(vectors[:1], k=700)[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = np.argsort(-(unit @ unit[0]))[:700]
    assert len({hit.document.id for hit in hits} & {f"{n:04}" for n in best}) >= 695
    assert len(hits) == 700


class TestEmbeddingFunction:
    """Defects of Chroma's own functions and wrappers that this one does not have."""

    def test_documents_and_queries_are_encoded_as_such(self, name, words):
        client = chromadb.EphemeralClient()
        function = ReasonEmbedFunction("words", task="pony")
        made = client.create_collection(name, embedding_function=function)
        made.add(ids=["a", "b"], documents=["one\ntwo", "three"])
        stored = made.get(ids=["a"], include=["embeddings"])["embeddings"]
        np.testing.assert_allclose(stored, words.encode_documents(["one\ntwo"]), atol=1e-6)
        words.calls.clear()
        made.query(query_texts=["what?"], n_results=1)
        assert words.calls == [("queries", ["what?"])]
        np.testing.assert_array_equal(function.embed_query(["q"]), words.encode_queries(["q"], task="pony"))

    def test_a_collection_opened_without_a_function_finds_it_again_and_loads_no_other_model(self, name, words):
        loads = []

        class Counting:
            spec, dimension, encode_queries = words.spec, words.dimension, words.encode_queries

            def encode_documents(self, texts, *, show_progress=False):
                loads.append(len(texts))
                return words.encode_documents(texts)

        share_embedder("words", Counting())
        client = chromadb.EphemeralClient()
        client.create_collection(name, embedding_function=ReasonEmbedFunction("words"))
        again = client.get_collection(name)
        again.add(ids=["a", "b"], documents=["one", "two"])
        assert again.query(query_texts=["one"], n_results=1)["ids"]
        assert loads == [2]

    def test_it_survives_its_configuration_and_refuses_unknown_settings(self):
        function = ReasonEmbedFunction("m", adapter="a", truncate_dim=8, task="pony")
        config = function.get_config()
        assert config == {"model": "m", "adapter": "a", "truncate_dim": 8, "task": "pony"}
        assert ReasonEmbedFunction.build_from_config(config).get_config() == config
        with pytest.raises(InputError, match="'modle'"):
            ReasonEmbedFunction.build_from_config({"modle": "m"})

    def test_a_change_of_the_documents_model_is_refused_and_one_of_the_queries_words_is_not(self):
        function = ReasonEmbedFunction("m")
        function.validate_config_update({"model": "m"}, {"model": "m", "task": "pony"})
        with pytest.raises(SpecMismatchError, match=r"'m'.*'n'"):
            function.validate_config_update({"model": "m"}, {"model": "n"})

    def test_a_store_made_with_a_spec_answers_plain_chroma_too(self, name, words):
        ChromaStore.create(collection=name, spec=words.spec)
        plain = chromadb.EphemeralClient().get_collection(name)
        plain.add(ids=["a"], documents=["some text"])
        assert plain.query(query_texts=["some text"], n_results=1)["ids"] == [["a"]]

    def test_chromas_own_tests_pass_with_it_registered(self):
        code = (
            "import sys, pytest, reasonembed_stores.chroma_embedding;"
            "sys.exit(pytest.main(['-q', '--noconftest', '-p', 'no:cacheprovider', '-o', 'addopts=', '--pyargs',"
            " 'chromadb.test.ef.test_custom_ef', 'chromadb.test.ef.test_ef']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
