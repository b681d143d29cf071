"""FaissStore against exact search."""

from __future__ import annotations

import numpy as np
import pytest

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
    with pytest.raises(SpecMismatchError, match=r"'words'.*'others'.*index the documents anew"):
        FaissStore.open(tmp_path / "index", spec=make_embedder(model="others").spec)


def test_bad_input_changes_nothing(store):
    store.upsert([Document("a", "one")], np.ones((1, 4)))
    for documents, vectors in (
        ([Document("b", "two")], np.ones((1, 5))),
        ([Document("b", "two")], np.full((1, 4), np.nan)),
        ([Document("b", "two"), Document("b", "three")], np.ones((2, 4))),
        ([Document("b", "two", {"x": object()})], np.ones((1, 4))),
        ([Document("", "two")], np.ones((1, 4))),
        ([Document("b", "two")], np.ones((2, 4))),
    ):
        with pytest.raises(InputError):
            store.upsert(documents, vectors)
    assert [document.id for document in store] == ["a"]


def test_two_writers_at_once_are_refused(tmp_path):
    with FaissStore.create(tmp_path / "index", dimension=2) as one, FaissStore.open(tmp_path / "index") as two:
        one.upsert([Document("a", "one")], np.ones((1, 2)))
        assert two.get(["a"])
        with pytest.raises(StoreError, match="written by another"):
            two.upsert([Document("b", "two")], np.ones((1, 2)))
        one.save()
        two.upsert([Document("b", "two")], np.ones((1, 2)))
        assert [document.id for document in one] == ["a", "b"]
