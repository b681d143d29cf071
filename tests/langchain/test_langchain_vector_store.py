"""ReasonEmbedVectorStore: the behaviour of LangChain's FAISS suite, and the record manager."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_stores import FaissStore, select_mmr


class Angles(Embeddings):
    """The text is an angle in degrees."""

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text):
        return [float(np.cos(np.radians(float(text)))), float(np.sin(np.radians(float(text))))]


@pytest.fixture
def store():
    texts = ["0", "10", "20", "90", "170"]
    metadatas = [{"n": n, "kind": "even" if n % 2 == 0 else "odd"} for n in range(5)]
    return ReasonEmbedVectorStore.from_texts(texts, Angles(), metadatas, ids=list("abcde"))


def ids(documents):
    return [document.id for document in documents]


def test_the_nearest_come_first(store):
    assert ids(store.similarity_search("12", k=3)) == ["b", "c", "a"]
    assert ids(store.similarity_search_by_vector([0.0, 2.0], k=1)) == ["d"]
    (document, score), *_ = store.similarity_search_with_score("90", k=1)
    assert (document.id, score) == ("d", pytest.approx(1.0))
    (document, score), *_ = store.similarity_search_with_score_by_vector([0.0, 1.0], k=1)
    assert (document.id, score) == ("d", pytest.approx(1.0))


def test_k_beyond_the_count_gives_all_and_k_below_one_is_refused(store):
    assert len(store.similarity_search("0", k=99)) == 5
    with pytest.raises(InputError, match=r"\bk\b.*\b0\b"):
        store.similarity_search("0", k=0)


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"n": 3}, {"d"}),
        ({"n": {"$eq": 3}}, {"d"}),
        ({"n": {"$neq": 3}}, {"a", "b", "c", "e"}),
        ({"n": {"$gt": 2}}, {"d", "e"}),
        ({"n": {"$gte": 2, "$lt": 4}}, {"c", "d"}),
        ({"n": {"$lte": 1}}, {"a", "b"}),
        ({"n": {"$in": [0, 4, 9]}}, {"a", "e"}),
        ({"n": {"$nin": [0, 4, 9]}}, {"b", "c", "d"}),
        ({"kind": "odd", "n": {"$gt": 1}}, {"d"}),
        ({"$and": [{"kind": "even"}, {"n": {"$gt": 1}}]}, {"c", "e"}),
        ({"$or": [{"n": 0}, {"kind": "odd"}]}, {"a", "b", "d"}),
        ({"$not": {"kind": "even"}}, {"b", "d"}),
        ({}, set("abcde")),
        (lambda metadata: metadata["n"] > 3, {"e"}),
    ],
)
def test_a_filter_finds_exactly_what_it_says(store, chosen, found):
    assert set(ids(store.similarity_search("0", k=9, filter=chosen))) == found
    assert set(ids(store.max_marginal_relevance_search("0", k=9, filter=chosen))) == found
    assert {document.id for document, _ in store.similarity_search_with_score("0", k=9, filter=chosen)} == found


@pytest.mark.parametrize("chosen", [{"n": {"$about": 3}}, {"$xor": []}, {"n": {"$in": 3}}, {"n": {"$gt": None}}, [1]])
def test_an_invalid_filter_is_an_input_error(store, chosen):
    with pytest.raises(InputError):
        store.similarity_search("0", filter=chosen)


def test_excluded_ids_leave_the_ranking_before_the_cut(store):
    assert ids(store.similarity_search("0", k=2, excluded_ids=["a", "b"])) == ["c", "d"]


def test_an_unknown_argument_is_an_error(store):
    for call in (
        lambda: store.similarity_search("0", kk=3),
        lambda: store.max_marginal_relevance_search("0", lamda_mult=0.1),
        lambda: store.add_texts(["0"], batch=3),
        lambda: store.delete(["a"], force=True),
        lambda: store.similarity_search("0", task="pony"),  # these embeddings take none
    ):
        with pytest.raises(InputError):
            call()
    assert len(store.store) == 5


def test_relevance_scores_keep_the_order_and_a_threshold_cuts(store):
    found = store.similarity_search_with_relevance_scores("0", k=5)
    assert [document.id for document, _ in found] == list("abcde")
    assert found[3][1] == pytest.approx(0.5)
    found = store.similarity_search_with_relevance_scores("0", k=5, score_threshold=0.9)
    assert [document.id for document, _ in found] == ["a", "b", "c"]
    for kind, options in (
        ("similarity", {"k": 2}),
        ("similarity_score_threshold", {"k": 2, "score_threshold": 0.5}),
        ("mmr", {"k": 2, "fetch_k": 3, "lambda_mult": 1.0}),
    ):
        assert ids(store.as_retriever(search_type=kind, search_kwargs=options).invoke("0")) == ["a", "b"]


def test_mmr_trades_relevance_for_variety(store):
    assert ids(store.max_marginal_relevance_search("4", k=3, lambda_mult=1.0)) == ["a", "b", "c"]
    assert ids(store.max_marginal_relevance_search("4", k=3, lambda_mult=0.0)) == ["a", "e", "d"]
    assert ids(store.max_marginal_relevance_search("4", k=3, fetch_k=3, lambda_mult=0.0)) == ["a", "c", "b"]
    assert ids(store.max_marginal_relevance_search_by_vector([1.0, 0.07], k=2, lambda_mult=1.0)) == ["a", "b"]
    with pytest.raises(InputError, match=r"\bbalance\b.*\b1\.5\b"):
        store.max_marginal_relevance_search("4", lambda_mult=1.5)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 8), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
def test_mmr_picks_what_langchain_picks(seed, size, k, balance):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((size, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[0] + 0.1 * rng.standard_normal(5).astype(np.float32)
    query /= np.linalg.norm(query)
    wanted = maximal_marginal_relevance(query, list(vectors), lambda_mult=balance, k=k)
    assert select_mmr(query, vectors, k=k, balance=balance) == wanted


def test_documents_are_made_from_documents_and_from_vectors():
    documents = [Document(id="x", page_content="30", metadata={"deep": {"n": [1]}}), Document(page_content="60")]
    store = ReasonEmbedVectorStore.from_documents(documents, Angles())
    assert store.similarity_search("30", k=1) == [documents[0]]
    assert documents[1].id is None
    made = ReasonEmbedVectorStore(Angles())
    assert made.add_embeddings(["a", "b"], np.eye(2), [{}, {"n": 1}], ids=["1", "2"]) == ["1", "2"]
    assert ids(made.similarity_search("89", k=1)) == ["2"]
    assert made.add_embeddings(["c"], [[0.5, 0.5]], ids=["3"]) == ["3"]


def test_lists_that_do_not_fit_are_reported(store):
    for texts, metadatas, names in ((["0"], [{}, {}], None), (["0"], None, ["x", "y"]), (["0", "1"], None, ["x", "x"])):
        with pytest.raises(InputError):
            store.add_texts(texts, metadatas, ids=names)
    with pytest.raises(InputError, match=r"\bbatch_size\b.*\b0\b"):
        store.add_texts(["0"], batch_size=0)
    assert len(store.store) == 5


def test_a_batch_size_commits_that_many_at_a_time(tmp_path):
    made = ReasonEmbedVectorStore.from_texts([], Angles(), path=tmp_path / "index")
    made.add_texts([str(n) for n in range(10)], batch_size=4)
    assert made.store._table.view().state.generation == 3


def test_what_is_saved_is_loaded_and_saving_again_replaces_it(store, tmp_path):
    store.save_local(tmp_path / "saved")
    again = ReasonEmbedVectorStore.load_local(tmp_path / "saved", Angles())
    assert again.similarity_search("12", k=9) == store.similarity_search("12", k=9)
    again.store.close()
    store.delete(["b"])
    store.save_local(tmp_path / "saved")
    loaded = ReasonEmbedVectorStore.load_local(tmp_path / "saved", Angles())
    assert ids(loaded.similarity_search("12", k=9)) == ["c", "a", "d", "e"]
    loaded.add_texts(["12"], ids=["new"])
    loaded.save_local(tmp_path / "saved")
    loaded.store.close()
    assert ids(ReasonEmbedVectorStore.load_local(tmp_path / "saved", Angles()).similarity_search("12", k=1)) == ["new"]
    with pytest.raises(StoreError):
        ReasonEmbedVectorStore.load_local(tmp_path / "absent", Angles())


def test_a_store_of_another_model_is_refused(tmp_path, words, make_embedder):
    share_embedder("others", make_embedder(model="others"))
    ReasonEmbedVectorStore.from_texts(
        ["one"], ReasonEmbedEmbeddings(model="words"), path=tmp_path / "index"
    ).store.close()
    with pytest.raises(SpecMismatchError):
        ReasonEmbedVectorStore.load_local(tmp_path / "index", ReasonEmbedEmbeddings(model="others"))


def test_a_task_given_with_a_search_is_said_before_the_query(words):
    store = ReasonEmbedVectorStore.from_texts(["one", "two"], ReasonEmbedEmbeddings(model="words"))
    plain = [score for _, score in store.similarity_search_with_score("one", k=2)]
    said = [score for _, score in store.similarity_search_with_score("one", k=2, task="pony")]
    assert plain != said


def test_stores_are_merged(store):
    other = ReasonEmbedVectorStore.from_texts(["45", "5"], Angles(), ids=["x", "a"])
    store.merge_from(other)
    store.merge_from(ReasonEmbedVectorStore(Angles()))
    assert len(store.store) == 6
    assert ids(store.similarity_search("45", k=1)) == ["x"]
    assert store.get_by_ids(["a"])[0].page_content == "5"


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_the_record_manager_adds_skips_replaces_and_deletes(tmp_path, place):
    made = FaissStore.create(tmp_path / "index") if place == "folder" else None
    store = ReasonEmbedVectorStore(DeterministicFakeEmbedding(size=6), made)
    manager = InMemoryRecordManager("test")
    manager.create_schema()

    def run(*pairs, cleanup="full"):
        documents = [Document(page_content=text, metadata={"source": source}) for source, text in pairs]
        told = index(documents, manager, store, cleanup=cleanup, source_id_key="source", key_encoder="sha256")
        return told["num_added"], told["num_skipped"], told["num_deleted"]

    assert run(("1", "one"), ("2", "two")) == (2, 0, 0)
    assert run(("1", "one"), ("2", "two")) == (0, 2, 0)
    assert run(("1", "uno"), cleanup="incremental") == (1, 0, 1)
    assert {document.page_content for document in store.similarity_search("x", k=9)} == {"uno", "two"}
    assert run(("3", "three")) == (1, 0, 2)
    assert [document.page_content for document in store.similarity_search("x", k=9)] == ["three"]


async def test_the_first_additions_may_come_together():
    store = ReasonEmbedVectorStore(Angles())
    await asyncio.gather(*(store.aadd_texts([str(n)], ids=[str(n)]) for n in range(20)))
    assert len(store.store) == 20


async def test_every_asynchronous_twin_gives_what_its_twin_gives(store):
    assert await store.aadd_texts(["45"], [{"n": 9}], ids=["x"]) == ["x"]
    assert await store.aget_by_ids(["x"]) == store.get_by_ids(["x"])
    assert await store.asimilarity_search("12", k=3) == store.similarity_search("12", k=3)
    assert await store.asimilarity_search_with_score("12", k=3) == store.similarity_search_with_score("12", k=3)
    assert await store.asimilarity_search_by_vector([1.0, 0.0]) == store.similarity_search_by_vector([1.0, 0.0])
    relevant = store.similarity_search_with_relevance_scores("12")
    assert await store.asimilarity_search_with_relevance_scores("12") == relevant
    assert await store.amax_marginal_relevance_search("12") == store.max_marginal_relevance_search("12")
    by_vector = store.max_marginal_relevance_search_by_vector([1.0, 0.2])
    assert await store.amax_marginal_relevance_search_by_vector([1.0, 0.2]) == by_vector
    assert await store.adelete(["x"]) is True
    assert await store.aget_by_ids(["x"]) == []
    made = await ReasonEmbedVectorStore.afrom_documents([Document(id="q", page_content="3")], Angles())
    assert ids(await made.asimilarity_search("3")) == ["q"]


def test_filters_is_another_name_of_filter(words, tmp_path):
    metadatas = [{"n": number} for number in range(4)]
    made = ReasonEmbedVectorStore.from_texts(
        ["a", "b", "c", "d"], ReasonEmbedEmbeddings(model="words"), metadatas, path=tmp_path / "index"
    )
    wanted = {"n": {"$lt": 2}}
    assert made.similarity_search("a", filters=wanted) == made.similarity_search("a", filter=wanted) != []
    diverse = made.max_marginal_relevance_search
    assert diverse("a", filters=wanted) == diverse("a", filter=wanted) != []
    with pytest.raises(InputError, match=r"\bfilter\b.*\bfilters\b"):
        made.similarity_search("a", filter=wanted, filters=wanted)
    made.store.close()
    by_both = [ReasonEmbedRetriever(index=str(tmp_path / "index"), **{name: wanted}) for name in ("filter", "filters")]
    assert by_both[0].filters == by_both[1].filters == wanted
    assert by_both[0].invoke("a") == by_both[1].invoke("a") != []
    bare = ReasonEmbedRetriever(index=str(tmp_path / "index"))
    assert bare.invoke("a", filter=wanted) == by_both[0].invoke("a")
    with pytest.raises(InputError, match=r"\bfilter\b.*\bfilters\b"):
        bare.invoke("a", filter=wanted, filters=wanted)
