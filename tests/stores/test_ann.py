"""Graphs, inverted files and half-precision codes: near to exact search, equal to it where they must be."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest

from reasonembed_rag import Document, exact_search
from reasonembed_rag.errors import InputError, StoreError
from reasonembed_stores import FaissStore
from reasonembed_stores.ann import build_ann_index, kind_for

SIZE, DIMENSION = 3000, 24


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, DIMENSION))
    rows = centres[rng.integers(0, 40, SIZE)] + 0.4 * rng.standard_normal((SIZE, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def documents(size=SIZE):
    return [Document(f"d{n:05}", "", {"n": n, "rare": n % 500 == 3, "even": n % 2 == 0}) for n in range(size)]


def names(found):
    return [tuple(hit.document.id for hit in row) for row in found]


def recall(found, wanted):
    pairs = [(set(row), set(hits.ids)) for row, hits in zip(names(found), wanted, strict=True)]
    return sum(len(a & b) for a, b in pairs) / sum(len(b) for _, b in pairs)


@pytest.fixture(scope="module", params=["hnsw", "ivf"])
def built(request, tmp_path_factory, vectors):
    path = tmp_path_factory.mktemp("ann") / request.param
    with FaissStore.create(path, dimension=DIMENSION, ann=request.param) as store:
        store.upsert(documents(), vectors)
        store.save()
    with FaissStore.open(path) as store:
        yield store


def test_an_ann_index_finds_nearly_all_with_exact_scores(built, vectors, request):
    kind = request.node.callspec.params["built"]
    assert built.index == f"{kind} over 3,000 vectors"
    queries = vectors[::60]
    wanted = exact_search(queries, vectors, [d.id for d in documents()], k=10)
    found = built.search(queries, k=10)
    assert recall(found, wanted) >= 0.97
    scores = {(row, i): s for row, hits in enumerate(wanted) for i, s in zip(hits.ids, hits.scores, strict=True)}
    for row, hits in enumerate(found):
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(np.float32(hit.score) == scores.get((row, hit.document.id), np.float32(hit.score)) for hit in hits)


def test_a_selective_filter_is_exact_and_never_returns_too_few(built, vectors):
    queries = vectors[:20]
    for filters, rows in (
        ({"rare": True}, [n for n in range(SIZE) if n % 500 == 3]),
        ({"n": {"$lt": 100}}, list(range(100))),
    ):
        wanted = exact_search(queries, vectors[rows], [f"d{n:05}" for n in rows], k=10)
        assert names(built.search(queries, k=10, filters=filters)) == [hits.ids for hits in wanted]
    found = built.search(queries, k=10, filters={"even": True})
    assert all(len(row) == 10 and all(hit.document.metadata["even"] for hit in row) for row in found)


def test_exclusions_leave_before_the_cut(built, vectors):
    first = names(built.search(vectors[:5], k=10))
    found = names(built.search(vectors[:5], k=10, excluded_ids=[row[:4] for row in first]))
    for row, before in zip(found, first, strict=True):
        assert len(row) == 10
        assert not set(row) & set(before[:4])
    many = [[f"d{n:05}" for n in range(SIZE) if n != 7]] * 5
    assert names(built.search(vectors[:5], k=10, excluded_ids=many)) == [("d00007",)] * 5


@pytest.mark.parametrize("kind", ["hnsw", "ivf"])
def test_what_comes_after_the_ann_index_is_found_and_what_goes_is_not(tmp_path, vectors, kind):
    with FaissStore.create(tmp_path / "index", dimension=DIMENSION, ann=kind) as store:
        store.upsert(documents(1000), vectors[:1000])
        store.save()
        store.upsert([Document("new", "", {"n": -1})], vectors[2000:2001])
        store.delete(["d00000"])
        store.upsert([Document("d00001", "moved")], vectors[2500:2501])
        assert names(store.search(vectors[2000:2001], k=1)) == [("new",)]
        assert store.search(vectors[2500:2501], k=1)[0][0].document.content == "moved"
        assert "d00000" not in names(store.search(vectors[:1], k=50))[0]
        assert store.index.startswith(f"{kind} over 1,000 of 1,002")
    with FaissStore.open(tmp_path / "index") as store:
        assert store.index.startswith(f"{kind} over 1,000 of 1,002")
        assert names(store.search(vectors[2000:2001], k=1)) == [("new",)]
        store.upsert([Document(f"x{n}", "") for n in range(300)], vectors[1000:1300])
        store.save()
        assert store.index.startswith(f"{kind} over 1,302 vectors")
        assert len(list((tmp_path / "index").glob("index-*"))) == 1
        store._table.rewrite(store._table.view().alive)
        assert store.index == "exact over 1,300 vectors"
        assert not list((tmp_path / "index").glob("index-*"))


def test_a_damaged_ann_index_is_refused(tmp_path, vectors):
    with FaissStore.create(tmp_path / "index", dimension=DIMENSION, ann="ivf") as store:
        store.upsert(documents(500), vectors[:500])
        store.save()
    (path,) = (tmp_path / "index").glob("index-*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"\bindex-000000-500\.faiss\b.*\bchecksum\b"):
        FaissStore.open(tmp_path / "index")


def test_a_store_in_memory_builds_one_on_request(vectors, caplog):
    store = FaissStore.create(dimension=DIMENSION, ann="hnsw")
    store.upsert(documents(500), vectors[:500])
    assert store.index == "exact over 500 vectors"
    with caplog.at_level(logging.INFO):
        store.build_index()
    assert re.search(r"\bhnsw\b.*\b500\b", caplog.text)
    assert store.index.startswith("hnsw over 500 vectors")
    assert names(store.search(vectors[:3], k=1)) == [("d00000",), ("d00001",), ("d00002",)]


def test_a_callback_takes_the_messages_of_a_build_from_the_log(vectors, caplog, tmp_path):
    messages: list[str] = []
    with FaissStore.create(tmp_path / "index", dimension=DIMENSION, ann="hnsw") as store, caplog.at_level(logging.INFO):
        store.upsert(documents(500), vectors[:500])
        store.save(on_message=messages.append)
        store.save(on_message=messages.append)  # nothing is due
    assert [re.findall(r"\bhnsw\b|\b500\b", message) for message in messages] == [["hnsw", "500"]] * 2
    assert caplog.text == ""


def test_size_chooses_the_kind():
    assert [kind_for("auto", n) for n in (0, 200_000, 200_001, 2_000_000, 2_000_001)] == [
        "flat", "flat", "hnsw", "hnsw", "ivf",
    ]  # fmt: skip
    assert kind_for("flat", 10**9) == "flat"
    for name, wrong in (("ann", "lsh"), ("dtype", "int8")):
        with pytest.raises(InputError, match=rf"\b{name}\b.*{wrong!r}"):
            FaissStore.create(dimension=2, **{name: wrong})


@pytest.mark.parametrize("duplicates", [1, 50])
def test_half_precision_codes_rank_exactly_as_their_numbers_do(tmp_path, vectors, duplicates):
    rows = np.repeat(vectors[: SIZE // duplicates], duplicates, axis=0)
    with FaissStore.create(tmp_path / "index", dimension=DIMENSION, dtype="float16") as store:
        store.upsert(documents(2000), rows[:2000])
        queries = vectors[:30]
        store.search(queries, k=1)  # builds the codes
        store.upsert(documents()[2000:], rows[2000:])
        halves = rows.astype(np.float16).astype(np.float32)
        ids = [d.id for d in documents()]
        excluded = [[f"d{n:05}" for n in range(q, 200, 3)] for q in range(30)]
        for k in (1, 10, 60):
            wanted = exact_search(queries, halves, ids, k=k, excluded_ids=excluded)
            found = store.search(queries, k=k, excluded_ids=excluded)
            assert names(found) == [hits.ids for hits in wanted]
            np.testing.assert_array_equal(
                [[np.float32(hit.score) for hit in row] for row in found], [hits.scores for hits in wanted]
            )
        size = sum(path.stat().st_size for path in (tmp_path / "index").glob("vectors-*"))
        assert size == SIZE * DIMENSION * 2


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_graph_of_hardly_any_vectors_is_built(size):
    assert build_ann_index(np.eye(2, 4, dtype=np.float32)[:size], "hnsw").covered == size
