"""Programs written for LangChain's FAISS and Chroma stores: what they pass is taken, told or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from pydantic import ValidationError

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag import Document as StoredDocument
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError

TEXTS = ["use a tuple", "dictionaries remember order", "a loop may have an else"]
METADATAS = [{"author": name, "year": year} for name, year in (("ann", 2020), ("bob", 2021), ("cy", 2022))]


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def embeddings():
    return ReasonEmbedEmbeddings(model="words")


@pytest.fixture
def store(embeddings):
    return ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, METADATAS, ids=["a", "b", "c"])


def ids(documents):
    return sorted(document.id for document in documents)


def test_a_folder_is_loaded_as_faiss_loads_one_with_a_word(store, embeddings, tmp_path):
    folder = str(tmp_path / "saved")
    for _ in range(2):
        store.save_local(folder, "index")
        with pytest.warns(UserWarning, match="allow_dangerous_deserialization"):
            loaded = ReasonEmbedVectorStore.load_local(
                folder, embeddings, index_name="index", allow_dangerous_deserialization=True
            )
        assert loaded.similarity_search("tuple", k=9) == store.similarity_search("tuple", k=9)
        loaded.store.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ReasonEmbedVectorStore.load_local(folder, embeddings)


def test_an_index_name_is_refused_with_the_folder_to_use(store, embeddings, tmp_path):
    for call in (
        lambda: store.save_local(tmp_path / "saved", "posts"),
        lambda: ReasonEmbedVectorStore.load_local(tmp_path / "saved", embeddings, index_name="posts"),
    ):
        with pytest.raises(InputError, match=r"'posts'.*saved/posts"):
            call()
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({"author": ["ann", "bob"]}, "ab"),
        ({"author": ("ann", "cy")}, "ac"),
        ({"author": {"cy"}}, "c"),
        ({"author": []}, ""),
        ({"author": ["ann", "bob"], "year": [2021, 2022]}, "b"),
        ({"year": np.array([2020, 2022])}, "ac"),
        ({"year": np.int64(2020)}, "a"),
        ({"$or": [{"author": ["ann"]}, {"year": {"$gte": np.float32(2022)}}]}, "ac"),
        ({"$not": {"author": ["ann", "bob"]}}, "c"),
        (lambda metadata: metadata["year"] > 2020, "bc"),
    ],
)
def test_a_list_in_a_filter_means_one_of(store, tmp_path, embeddings, chosen, found):
    assert ids(store.similarity_search("tuple", filter=chosen)) == list(found)
    assert ids(store.as_retriever(search_kwargs={"filter": chosen}).invoke("tuple")) == list(found)
    assert ids(store.max_marginal_relevance_search("tuple", filter=chosen)) == list(found)
    store.save_local(tmp_path / "saved")
    saved = ReasonEmbedRetriever(index=str(tmp_path / "saved"))
    assert ids(saved.invoke("tuple", filter=chosen)) == list(found)


def test_a_list_is_equal_to_a_list_by_eq(embeddings):
    store = ReasonEmbedVectorStore.from_texts(["x", "y"], embeddings, [{"tags": ["a"]}, {"tags": "a"}], ids=["l", "t"])
    assert ids(store.similarity_search("x", filter={"tags": {"$eq": ["a"]}})) == ["l"]
    assert ids(store.similarity_search("x", filter={"tags": ["a"]})) == ["t"]


@pytest.mark.parametrize("number", [np.float32, np.float64, np.float16, float])
async def test_numpy_scalars_are_numbers_everywhere(store, embeddings, number):
    vector = [number(value) for value in embeddings.embed_query("tuple")]
    assert len(store.similarity_search("tuple", k=np.int64(2))) == 2
    assert len(store.similarity_search_by_vector(vector, k=np.int32(2))) == 2
    assert len(store.max_marginal_relevance_search("tuple", np.int8(2), np.int64(3), number(0.5))) == 2
    assert len(await store.amax_marginal_relevance_search("tuple", k=np.int8(2), lambda_mult=number(0.5))) == 2
    for kind, asked in (
        ("similarity", {"k": np.int64(2)}),
        ("similarity_score_threshold", {"k": np.int64(2), "score_threshold": number(0.5)}),
        ("similarity_score_threshold", {"k": 2, "score_threshold": 0}),
        ("mmr", {"k": np.int64(2), "fetch_k": np.int64(3), "lambda_mult": number(0.5)}),
    ):
        retriever = store.as_retriever(search_type=kind, search_kwargs=asked)
        assert retriever.invoke("tuple") == await retriever.ainvoke("tuple") != []
    assert store.add_embeddings(["v"], [vector], ids=["v"]) == ["v"]


def test_relevance_is_half_of_one_plus_the_cosine_and_no_warning_is_given(store, recwarn):
    cosines = store.similarity_search_with_score("tuple", k=3)
    relevant = store.similarity_search_with_relevance_scores("tuple", k=3)
    assert [score for _, score in relevant] == pytest.approx([(1 + cosine) / 2 for _, cosine in cosines])
    middle = relevant[1][1]
    kept = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": middle})
    assert [document.id for document in kept.invoke("tuple")] == [document.id for document, _ in relevant[:2]]
    assert not recwarn.list


def test_fetch_k_of_a_filtered_search_is_ignored_with_a_word(store):
    with pytest.warns(UserWarning, match="fetch_k"):
        assert ids(store.similarity_search("tuple", k=1, filter={"author": "cy"}, fetch_k=1)) == ["c"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"k": 3}, r"'k'.*search_kwargs"),
        ({"search_kwargs": {"kk": 3}}, "'kk'"),
        ({"search_kwargs": {"score_threshold": 0.5}}, "similarity_score_threshold"),
        ({"search_kwargs": {"lambda_mult": 0.5}}, "mmr"),
        ({"search_kwargs": {"where": {"author": "ann"}}}, "'where'; want filter"),
        ({"search_kwargs": {"where_document": {"$contains": "a"}}}, "'where_document'; want filter"),
        ({"search_type": "mmr", "search_kwargs": {"score_threshold": 0.5}}, "'score_threshold'"),
    ],
)
def test_a_retriever_is_not_made_with_an_argument_that_no_search_takes(store, arguments, told):
    with pytest.raises(InputError, match=told):
        store.as_retriever(**arguments)


def test_chromas_name_for_the_folder_is_refused_with_ours(embeddings, tmp_path):
    with pytest.raises(InputError, match="'persist_directory'; want path"):
        ReasonEmbedVectorStore.from_texts(["tuple"], embeddings, persist_directory=str(tmp_path / "posts"))


def test_langchain_itself_refuses_an_unknown_search_type_and_a_missing_threshold(store):
    for kind in ("pony", "similarity_score_threshold"):
        with pytest.raises(ValidationError):
            store.as_retriever(search_type=kind)


def test_one_string_is_not_taken_for_many_texts(store, embeddings):
    for call in (
        lambda: store.add_texts("tuple"),
        lambda: ReasonEmbedVectorStore.from_texts("tuple", embeddings),
        lambda: store.add_texts(["one", "two"], ids="tuple"),
        lambda: store.get_by_ids("a"),
        lambda: store.delete("a"),
    ):
        with pytest.raises(InputError, match=r"'(tuple|a)'; want a list"):
            call()
    assert len(store.store) == 3


@pytest.mark.parametrize("documents", [["text"], Document(page_content="one"), [StoredDocument("a", "one")]])
def test_what_is_not_a_list_of_documents_is_refused(store, documents):
    with pytest.raises(InputError, match="Document"):
        store.add_documents(documents)


def test_documents_with_and_without_ids_are_added_together(store):
    added = store.add_documents([Document(id="x", page_content="one"), Document(page_content="two")])
    assert added[0] == "x"
    assert [document.page_content for document in store.get_by_ids(added)] == ["one", "two"]
    assert store.add_documents([Document(page_content="three")] * 2, ids=["y", None])[0] == "y"
    assert store.delete([]) is True
    assert len(store.store) == 7
    assert store.delete() is True
    assert len(store.store) == 0


async def test_a_second_run_over_the_same_folder_adds_nothing(embeddings, tmp_path):
    documents = [Document(page_content="same"), Document(page_content="same"), Document(page_content="other")]
    kept = [  # as a notebook keeps the store of the first run
        ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, METADATAS, path=tmp_path / "a"),
        await ReasonEmbedVectorStore.afrom_texts(TEXTS, embeddings, METADATAS, path=tmp_path / "a"),
    ]
    kept[0].delete(kept[0].add_texts(["another"]))  # which begins to write
    kept.append(ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, METADATAS, path=tmp_path / "a"))
    kept.append(ReasonEmbedVectorStore.load_local(tmp_path / "a", embeddings))
    kept[-1].delete(kept[-1].add_texts(["another"]))
    assert [len(made.store) for made in kept] == [3, 3, 3, 3]
    for _ in range(2):
        kept.append(ReasonEmbedVectorStore.from_documents(documents, embeddings, path=str(tmp_path / "b")))
        assert len(kept[-1].store) == 3
    kept.append(ReasonEmbedVectorStore.from_texts(["changed"], embeddings, [{}], ids=["x"], path=tmp_path / "b"))
    assert len(kept[-1].store) == 4


def test_a_folder_of_another_model_is_not_added_to(embeddings, make_embedder, tmp_path):
    from reasonembed_rag.encoder import share_embedder

    share_embedder("others", make_embedder(model="others"))
    ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, path=tmp_path / "a")
    with pytest.raises(SpecMismatchError):
        ReasonEmbedVectorStore.from_texts(TEXTS, ReasonEmbedEmbeddings(model="others"), path=tmp_path / "a")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    with pytest.raises(StoreError, match="foreign"):
        ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, path=tmp_path / "foreign")


def test_a_mistake_in_the_arguments_leaves_no_folder(embeddings, tmp_path):
    for arguments in ({"collection_name": "x"}, {"metadatas": [{}]}, {"metadatas": [{"v": b""}] * 3}):
        with pytest.raises(InputError):
            ReasonEmbedVectorStore.from_texts(TEXTS, embeddings, path=tmp_path / "a", **arguments)
    assert not (tmp_path / "a").exists()


def test_any_embeddings_may_fill_a_folder_twice(tmp_path):
    for _ in range(2):
        made = ReasonEmbedVectorStore.from_texts(TEXTS, DeterministicFakeEmbedding(size=4), path=tmp_path / "a")
    assert len(made.store) == 3
