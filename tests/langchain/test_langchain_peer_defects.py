"""Defects of other LangChain integrations that ReasonEmbed's classes do not have."""

from __future__ import annotations

import asyncio
import json
import math
import pickle

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag import Encoder, EncoderSettings
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_stores import FaissStore


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def store():
    return ReasonEmbedVectorStore(DeterministicFakeEmbedding(size=8))


class TestEmbeddings:
    def test_newlines_reach_the_model(self, words):
        embeddings = ReasonEmbedEmbeddings(model="words")
        code = "if x:\n    return y"
        embeddings.embed_documents([code])
        embeddings.embed_query(code)
        assert words.calls == [("documents", [code]), ("queries", [code])]
        assert embeddings.embed_documents([code]) != embeddings.embed_documents([code.replace("\n", " ")])

    def test_queries_are_encoded_as_queries_by_default(self, words):
        ReasonEmbedEmbeddings(model="words").embed_query("why?")
        assert words.calls == [("queries", ["why?"])]

    def test_queries_and_documents_have_unit_length_with_any_instruction(self):
        embeddings = ReasonEmbedEmbeddings(model="words", query_instruction="Seek.")
        for vector in (embeddings.embed_query("q"), *embeddings.embed_documents(["d"])):
            assert math.isclose(np.linalg.norm(vector), 1.0, abs_tol=1e-6)

    def test_several_devices_get_every_setting_once(self, words, monkeypatch):
        taken = []

        def load(settings):
            taken.append(settings)
            return words

        monkeypatch.setattr(Encoder, "from_settings", staticmethod(load))
        settings = {"truncate_dim": 16, "max_document_length": 9, "dtype": "bfloat16"}
        embeddings = ReasonEmbedEmbeddings(model="several", device=["cuda:0", "cuda:1"], **settings)
        embeddings.embed_documents(["one", "two"])
        ReasonEmbedEmbeddings(model="several", device=["cuda:0", "cuda:1"], **settings).embed_query("three")
        assert taken == [EncoderSettings(model="several", device=("cuda:0", "cuda:1"), **settings)]

    async def test_concurrent_calls_give_what_serial_ones_give(self, words):
        embeddings = ReasonEmbedEmbeddings(model="words")
        texts = [f"text {n}" for n in range(60)]
        together = await asyncio.gather(*(embeddings.aembed_query(text) for text in texts))
        assert together == [embeddings.embed_query(text) for text in texts]
        documents = await asyncio.gather(*(embeddings.aembed_documents([text]) for text in texts))
        assert [vector for (vector,) in documents] == embeddings.embed_documents(texts)

    def test_a_store_gets_arrays_and_never_lists_of_floats(self, words, monkeypatch):
        monkeypatch.setattr(ReasonEmbedEmbeddings, "embed_documents", None)
        monkeypatch.setattr(ReasonEmbedEmbeddings, "embed_query", None)
        store = ReasonEmbedVectorStore(ReasonEmbedEmbeddings(model="words"))
        store.add_texts(["one", "two"])
        assert len(store.similarity_search("one", k=1)) == 1

    def test_an_error_is_raised_at_the_first_call_without_retries(self):
        calls = []

        class Failing:
            def encode_documents(self, texts, *, show_progress=False):
                calls.append(texts)
                raise MemoryError

        from reasonembed_rag.encoder import share_embedder

        share_embedder("failing", Failing())
        with pytest.raises(MemoryError):
            ReasonEmbedEmbeddings(model="failing").embed_documents(["x"])
        assert len(calls) == 1

    def test_the_cache_keeps_queries_and_documents_apart(self, tmp_path, tiny_model):
        folder = str(tiny_model("bert", pooling="mean"))
        cached = ReasonEmbedEmbeddings(model=folder, cache=str(tmp_path / "cache"), dtype="float32")
        plain = ReasonEmbedEmbeddings(model=folder, dtype="float32")
        for _ in range(2):
            assert cached.embed_query("same text") == plain.embed_query("same text")
            assert cached.embed_documents(["same text"]) == plain.embed_documents(["same text"])

    def test_it_is_pickled_without_the_weights(self, tiny_model):
        embeddings = ReasonEmbedEmbeddings(model=str(tiny_model("bert", pooling="mean")), adapter=None, dtype="float32")
        vector = embeddings.embed_query("text")
        frozen = pickle.dumps(embeddings)
        assert len(frozen) < 5000
        assert pickle.loads(frozen).embed_query("text") == vector

    def test_the_model_is_shared_by_all_that_name_it(self, tiny_model):
        folder = str(tiny_model("bert", pooling="mean"))
        one, same, other = (ReasonEmbedEmbeddings(model=folder, dtype=kind) for kind in ("float32", "float32", "auto"))
        assert one.encoder is same.encoder
        assert one.encoder is not other.encoder
        assert one.encoder is ReasonEmbedEmbeddings(model=folder, dtype="float32", task="pony").encoder

    def test_unknown_settings_are_refused(self):
        with pytest.raises(ValueError, match="normalise"):
            ReasonEmbedEmbeddings(model="words", normalise=True)


class TestFaiss:
    def test_nothing_saved_is_ever_executed(self, store, tmp_path):
        store.add_texts(["one"], [{"n": 1}])
        store.save_local(tmp_path / "saved")
        names = {path.name for path in (tmp_path / "saved").iterdir()}
        assert {name.rpartition(".")[2] for name in names} == {"sqlite", "json", "f32", "lock"}
        assert json.loads((tmp_path / "saved" / "manifest.json").read_text())["documents"] == 1
        assert b"pickle" not in b"".join(path.read_bytes() for path in (tmp_path / "saved").iterdir())

    def test_a_failed_add_leaves_vectors_and_texts_in_step(self, store):
        store.add_texts(["one", "two"], ids=["a", "b"])
        with pytest.raises(InputError):
            store.add_texts(["three", "four"], [{"n": 1}, {"n": object()}], ids=["c", "d"])
        assert len(store.store) == 2
        assert {document.id for document in store.similarity_search("three", k=9)} == {"a", "b"}

    def test_an_id_that_is_added_again_is_replaced(self, store):
        store.add_texts(["one"], [{"n": 1}], ids=["a"])
        store.add_texts(["two"], [{"m": 2}], ids=["a"])
        assert store.similarity_search("two", k=9) == [Document(id="a", page_content="two", metadata={"m": 2})]

    def test_deleting_unknown_ids_is_allowed(self, store):
        store.add_texts(["one"], ids=["a"])
        assert store.delete(["absent"]) is True
        assert len(store.store) == 1

    def test_adding_no_texts_is_allowed(self):
        store = ReasonEmbedVectorStore.from_texts([], DeterministicFakeEmbedding(size=8))
        assert store.similarity_search("anything") == []
        assert store.add_texts([]) == []

    def test_a_wrong_dimension_is_an_input_error(self, store):
        store.add_texts(["one"])
        with pytest.raises(InputError, match=r"\bquery_vectors\b.*\(1, 2\).*\(n, 8\)"):
            store.similarity_search_by_vector([1.0, 2.0])

    def test_scores_are_python_floats_and_relevance_is_between_0_and_1(self, store, recwarn):
        store.add_texts([str(n) for n in range(50)])
        for document, score in store.similarity_search_with_score("x", k=50):
            assert type(score) is float
            assert -1.0 <= score <= 1.0
            assert isinstance(document, Document)
        relevant = store.similarity_search_with_relevance_scores("x", k=50)
        assert all(0.0 <= score <= 1.0 for _, score in relevant)
        assert [score for _, score in relevant] == sorted((score for _, score in relevant), reverse=True)
        assert not [warning for warning in recwarn if "Relevance" in str(warning.message)]

    def test_a_filter_finds_every_document_that_satisfies_it(self, store):
        store.add_texts([str(n) for n in range(400)], [{"rare": n % 200 == 7} for n in range(400)])
        found = store.similarity_search("x", k=4, filter={"rare": True})
        assert {document.page_content for document in found} == {"7", "207"}
        assert store.similarity_search("x", k=4, filter=lambda metadata: metadata["rare"]) == found


class TestChroma:
    """Defects of langchain-chroma, tested on ChromaStore."""

    def test_generators_are_read_once(self, store):
        assert len(store.add_texts(text for text in ("one", "two"))) == 2
        documents = (Document(id=name, page_content=name) for name in "ab")
        assert store.add_documents(documents) == ["a", "b"]

    def test_a_document_without_metadata_is_returned_by_its_id(self, store):
        store.add_documents([Document(id="a", page_content="x")])
        assert store.get_by_ids(["a"]) == [Document(id="a", page_content="x")]

    def test_documents_come_in_the_order_of_their_ids(self, store):
        store.add_texts(["1", "2", "3"], ids=["c", "a", "b"])
        assert [document.id for document in store.get_by_ids(["b", "absent", "c", "a"])] == ["b", "c", "a"]

    def test_deleting_nothing_deletes_nothing_and_none_deletes_all(self, store):
        store.add_texts(["1", "2"], ids=["a", "b"])
        store.delete([])
        assert len(store.store) == 2
        store.delete()
        assert len(store.store) == 0

    def test_several_fields_in_one_filter_must_all_match(self, store):
        store.add_texts(["1", "2", "3"], [{"x": 1, "y": 1}, {"x": 1, "y": 2}, {"x": 2, "y": 1}])
        assert [d.page_content for d in store.similarity_search("q", filter={"x": 1, "y": 2})] == ["2"]

    async def test_asynchronous_methods_call_the_asynchronous_embeddings(self):
        class OnlyAsync(Embeddings):
            def embed_documents(self, texts):
                raise AssertionError

            def embed_query(self, text):
                raise AssertionError

            async def aembed_documents(self, texts):
                return [[float(len(text)), 1.0] for text in texts]

            async def aembed_query(self, text):
                return [float(len(text)), 1.0]

        store = ReasonEmbedVectorStore(OnlyAsync())
        await store.aadd_texts(["a", "bbb"])
        await store.aadd_documents([Document(page_content="cc")])
        assert [d.page_content for d in await store.asimilarity_search("bbb", k=1)] == ["bbb"]
        assert len(await store.asimilarity_search_with_score("x", k=3)) == 3
        assert len(await store.amax_marginal_relevance_search("x", k=2)) == 2
        made = await ReasonEmbedVectorStore.afrom_texts(["a"], OnlyAsync())
        assert [d.page_content for d in await made.asimilarity_search_by_vector([1.0, 1.0])] == ["a"]


class TestRetriever:
    def test_the_score_is_in_the_metadata(self, tmp_path, words):
        with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
            from reasonembed_rag import Document as Stored

            store.upsert([Stored("a", "one"), Stored("b", "two")], words.encode_documents(["one", "two"]))
        found = ReasonEmbedRetriever(index=str(tmp_path / "index"), k=2).invoke("one")
        assert [type(document.metadata["score"]) for document in found] == [float, float]
        assert found[0].metadata["score"] > found[1].metadata["score"]

    def test_a_folder_that_is_not_an_index_is_a_store_error(self, tmp_path):
        with pytest.raises(StoreError, match="reasonembed index"):
            ReasonEmbedRetriever(index=str(tmp_path / "absent")).invoke("q")
