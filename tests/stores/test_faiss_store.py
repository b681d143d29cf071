"""FaissStore against exact search."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from waits import repeated

from reasonembed_rag import Document, exact_search
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_stores import ChromaStore, FaissStore


@pytest.fixture(params=["memory", "folder", "chroma"])
def store(request, tmp_path, words):
    if request.param == "chroma":
        made = ChromaStore.create(tmp_path / "chroma", dimension=4)
    else:
        made = FaissStore.create(tmp_path / "index" if request.param == "folder" else None, dimension=4)
    with made:
        yield made


def test_search_equals_exact_search_with_ties_exclusions_deletes_and_filters(store):
    rng = np.random.default_rng(0)
    vectors = rng.integers(-2, 3, (60, 4)).astype(np.float32) + np.float32(0.5)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    documents = [Document(f"d{n}", f"text {n}", {"n": n, "group": "ab"[n % 2]}) for n in range(60)]
    store.upsert(documents, vectors)
    assert store.delete([f"d{n}" for n in range(0, 60, 7)] + ["absent"]) == 9
    store.upsert(documents[:10], vectors[10:20])
    vectors[:10] = vectors[10:20]
    live = [n for n in range(60) if n < 10 or n % 7]
    assert len(store) == len(live)
    excluded = [[f"d{n}" for n in range(q, 50, 3)] for q in range(6)]
    for rows, filters in (
        (live, None),
        ([n for n in live if n >= 10 and n % 2 == 0], {"n": {"$gte": 10}, "group": "a"}),
    ):
        found = store.search(vectors[:6], k=7, filters=filters, excluded_ids=excluded)
        wanted = exact_search(vectors[:6], vectors[rows], [f"d{n}" for n in rows], k=7, excluded_ids=excluded)
        assert [tuple(hit.document.id for hit in row) for row in found] == [hits.ids for hits in wanted]
        for row, hits in zip(found, wanted, strict=True):
            scores = np.float32([hit.score for hit in row])
            # Chroma scales vectors once more when it takes them in.
            np.testing.assert_allclose(scores, hits.scores, rtol=0, atol=2e-7 if isinstance(store, ChromaStore) else 0)


def test_what_was_added_is_there_after_opening_again(tmp_path, words):
    documents = [Document("a", "one\ntwo", {"tags": ["x", None], "deep": {"y": 1.5}}), Document("b", "", {})]
    with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert(documents, words.encode_documents(["one\ntwo", ""]))
    with FaissStore.open(tmp_path / "index", spec=words.spec) as store:
        assert list(store) == documents
        assert store.get(["b", "absent", "a"]) == documents[::-1]
        np.testing.assert_array_equal(store.vectors_of(["a"]), words.encode_documents(["one\ntwo"]))


def test_another_models_spec_is_refused_by_name(tmp_path, words, make_embedder):
    FaissStore.create(tmp_path / "index", spec=words.spec).close()
    with pytest.raises(SpecMismatchError, match=r"'words'.*'others'"):
        FaissStore.open(tmp_path / "index", spec=make_embedder(model="others").spec)


def test_a_model_whose_weights_changed_is_refused_with_the_cure(tmp_path, words):
    FaissStore.create(tmp_path / "index", spec=words.spec).close()
    with pytest.raises(SpecMismatchError, match=r"weights changed\b.*\banother folder"):
        FaissStore.open(tmp_path / "index", spec=replace(words.spec, weights="changed"))


def test_bad_input_changes_nothing(store):
    store.upsert([Document("a", "one")], np.ones((1, 4)))
    for documents, vectors in (
        ([Document("b", "two")], np.ones((1, 5))),
        ([Document("b", "two")], np.full((1, 4), np.nan)),
        ([Document("b", "two"), Document("b", "three")], np.ones((2, 4))),
        ([Document("b", "two", {"x": object()})], np.ones((1, 4))),
        ([Document("b", "two", {"x": {1: "one"}})], np.ones((1, 4))),
        ([Document("b", "two", {1: "one"})], np.ones((1, 4))),
        ([Document("b", "two", {"x": float("nan")})], np.ones((1, 4))),
        ([Document("b", "two", {"x": {1, 2}})], np.ones((1, 4))),
        ([Document("b", "\ud800")], np.ones((1, 4))),
        ([Document("b", "two", {"x": "\udc00"})], np.ones((1, 4))),
        ([Document("b", None)], np.ones((1, 4))),
        ([Document(7, "two")], np.ones((1, 4))),
        ([Document("b\0", "two")], np.ones((1, 4))),
        ([Document("", "two")], np.ones((1, 4))),
        ([Document("b", "two")], np.full((1, 4), np.inf)),
        ([Document("b", "two")], np.full((1, 4), "1")),
        ([Document("b", "two")], np.ones((2, 4))),
        ([Document("b", "two"), Document("c", "three")], [[1.0] * 4, [1.0] * 3]),
        ([Document("b", "two", None)], np.ones((1, 4))),
        (["two"], np.ones((1, 4))),
    ):
        with pytest.raises(InputError):
            store.upsert(documents, vectors)
    assert [document.id for document in store] == ["a"]


@pytest.mark.parametrize("kind", [FaissStore, ChromaStore])
@pytest.mark.parametrize("dimension", [0, -1, "8", 1.5, True, 5])
def test_a_dimension_that_is_not_a_count_or_not_the_specs_is_refused(tmp_path, words, kind, dimension):
    with pytest.raises(InputError, match=rf"\bdimension\b.*{dimension!r}"):
        kind.create(tmp_path / "store", dimension=dimension, spec=words.spec)
    assert not (tmp_path / "store").exists()


def test_two_writers_at_once_are_refused(tmp_path):
    with FaissStore.create(tmp_path / "index", dimension=2) as one, FaissStore.open(tmp_path / "index") as two:
        one.upsert([Document("a", "one")], np.ones((1, 2)))
        assert two.get(["a"])
        with pytest.raises(StoreError, match=r"/index\b.*\bprocess\b"):
            two.upsert([Document("b", "two")], np.ones((1, 2)))
        one.save()
        two.upsert([Document("b", "two")], np.ones((1, 2)))
        assert [document.id for document in one] == ["a", "b"]


@pytest.mark.parametrize("size", [1, 5000])
def test_metadata_comes_back_as_it_was_in_small_and_large_batches(tmp_path, size):
    values = [{"deep": {"a": [1, {"b": None}]}, "f": 0.1, "i": 2**70, "u": 'é\n\u2028"{', "t": True}, {}, {"": "{}"}]
    documents = [Document(f"d{n}", "x", values[n % 3]) for n in range(size)]
    with FaissStore.create(tmp_path / "index") as store:
        store.upsert(documents, np.ones((size, 2)))
        assert list(store) == documents
        with pytest.raises(InputError, match=r"'bad'.*\bJSON\b"):
            store.upsert([*documents, Document("bad", "x", {"k": {2: 3}})], np.ones((size + 1, 2)))
        with pytest.raises(InputError, match=r"'d0'.*\bunique\b"):
            store.upsert([*documents, Document("d0", "x")], np.ones((size + 1, 2)))
        store.upsert(documents[::-1], np.ones((size, 2)))
        assert len(store) == size
        assert store.get(["d0"]) == documents[:1]


def test_columns_are_added_as_documents_are():
    store = FaissStore.create()
    store.upsert_texts(["one", "two"], np.eye(2), ids=["a", "b"], metadatas=[{"n": 1}, {}])
    assert list(store) == [Document("a", "one", {"n": 1}), Document("b", "two")]
    with pytest.raises(InputError, match=r"\b2\b.*\b1\b.*\b2\b"):
        store.upsert_texts(["one"], np.eye(2), ids=["a", "b"], metadatas=[{}, {}])


@pytest.mark.parametrize("k", [0, -1, True, 1.5, "3", None])
def test_k_that_is_not_a_count_is_refused(store, k):
    with pytest.raises(InputError, match=rf"\bk\b.*{k!r}"):
        store.search(np.ones((1, 4)), k=k)


def test_an_empty_store_answers_nothing_and_says_nothing_wrong(store):
    assert [len(hits) for hits in store.search(np.ones((2, 4)), k=3)] == [0, 0]
    assert store.search(np.empty((0, 4)), k=3) == []
    assert (store.get(["a"]), store.delete(["a"]), list(store), len(store)) == ([], 0, [], 0)
    store.upsert([], np.empty((0, 4)))
    store.clear()
    (hits,) = store.search(np.ones((1, 4)), k=3, filters={"n": 1}, ids=[], excluded_ids=[["a"]])
    assert list(hits) == []


def test_vectors_are_scaled_and_a_vector_of_zeros_scores_zero(tmp_path):
    with FaissStore.create(tmp_path / "index") as store:
        store.upsert([Document("a", ""), Document("b", ""), Document("c", "")], [[3e8, 4e8], [1e-8, 0], [0, 0]])
        found = store.search(np.array([[2, 0]]), k=3)[0]
        assert [(hit.document.id, round(hit.score, 6)) for hit in found] == [("b", 1.0), ("a", 0.6), ("c", 0.0)]


def test_a_closed_store_says_so(tmp_path):
    store = FaissStore.create(tmp_path / "index", dimension=2)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.get(["a"])


def test_repeated_upserts_do_not_fill_the_disk(tmp_path):
    documents = [Document(f"d{n}", "") for n in range(1000)]
    vectors = np.random.default_rng(0).standard_normal((1000, 8))
    with FaissStore.create(tmp_path / "index") as store:
        for _ in range(20):
            store.upsert(documents, vectors)
        sizes = [path.stat().st_size for path in (tmp_path / "index").glob("vectors-*")]
        assert sum(sizes) <= 2.5 * 1000 * 8 * 4
        assert len(sizes) == 1
        assert store.search(vectors[5:6], k=1)[0][0].document.id == "d5"


def test_threads_search_while_another_adds():
    store = FaissStore.create(dimension=8)
    vectors = np.random.default_rng(0).standard_normal((2000, 8)).astype(np.float32)
    wrong = []

    def ask():
        for hits in store.search(vectors[:3], k=3, filters={"n": {"$lt": 1000}}):
            wrong.extend(hit for hit in hits if hit.document.metadata["n"] >= 1000)

    with repeated(ask, threads=3):
        for start in range(0, 2000, 40):
            rows = range(start, start + 40)
            store.upsert([Document(f"d{n}", "", {"n": n}) for n in rows], vectors[start : start + 40])
            store.delete([f"d{n}" for n in rows if n % 4 == 0])
    assert not wrong
    assert len(store) == 1500


def test_a_store_that_was_filtered_and_is_no_longer_held_leaves_its_folder_to_the_next_writer_at_once(tmp_path):
    gc.disable()
    try:
        for n in range(3):
            store = FaissStore.open_or_create(tmp_path / "index")
            store.upsert([Document(f"d{n}", "text", {"n": n})], np.eye(4, dtype=np.float32)[n : n + 1])
            assert [document.id for document in store.select({"n": n})] == [f"d{n}"]
            del store
    finally:
        gc.enable()
