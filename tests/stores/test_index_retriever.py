"""A saved index is a core retriever: into fusion, evaluation and robustness without a detour."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from reasonembed_rag import Document, Encoder, Hits
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError
from reasonembed_rag.evaluation import Example, RetrievalTask, RunOptions, System, evaluate, run_retriever
from reasonembed_rag.pipeline import Fusion, Weighted
from reasonembed_rag.protocols import Metered, Retriever
from reasonembed_rag.retrieval import BM25, DenseRetriever
from reasonembed_rag.robustness import RobustnessOptions, robustness
from reasonembed_stores import ChromaStore, FaissStore, IndexModel, IndexRetriever, build_index

DOCUMENTS = [Document(f"d{n:02}", f"passage about topic {n % 5}, number {n}", {"n": n}) for n in range(30)]
QUERIES = ["topic 3", "number 7", "a passage"]
TASK = RetrievalTask(
    "toy",
    None,
    tuple(DOCUMENTS),
    tuple(
        Example(f"q{n}", f"why is passage number {n} about its topic", (f"d{n:02}",), (f"d{n + 1:02}",))
        for n in range(12)
    ),
)


@pytest.fixture
def folder(tmp_path, words):
    path = tmp_path / "index"
    with FaissStore.create(path, spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return path


@pytest.fixture
def chroma_folder(tmp_path, words):
    store = ChromaStore.create(tmp_path / "chroma", spec=words.spec, ef_search=100, max_neighbors=64)
    store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return tmp_path / "chroma"


def without_documents(found):
    return [Hits(hits.ids, hits.scores) for hits in found]


@pytest.mark.parametrize("kind", ["folder", "chroma_folder"])
def test_its_hits_are_those_of_the_same_model_through_core_with_the_documents(request, kind, words):
    excluded = [["d03"], [], ["d00", "unknown"]]
    retriever = IndexRetriever(request.getfixturevalue(kind))
    found = retriever.search(QUERIES, k=7, excluded_ids=excluded)
    core = DenseRetriever(words, DOCUMENTS).search(QUERIES, k=7, excluded_ids=excluded)
    assert [hits.ids for hits in found] == [hits.ids for hits in core]
    for ours, theirs in zip(found, core, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-6)
        assert ours.documents == tuple(DOCUMENTS[int(identity[1:])] for identity in ours.ids)
    assert isinstance(retriever, Retriever)
    assert isinstance(retriever, Metered)


@pytest.mark.parametrize("index", ["folder", "text", "store"])
@pytest.mark.parametrize("embedder", ["none", "embedder", "named"])
def test_index_and_embedder_are_given_opened_or_by_name(folder, words, index, embedder):
    with FaissStore.open(folder) as store:
        indexes = {"folder": folder, "text": str(folder), "store": store}
        embedders = {"none": None, "embedder": words, "named": IndexModel(model="words")}
        found = IndexRetriever(indexes[index], embedders[embedder]).search(["topic 3"], k=3)
        assert found == store.search(words.encode_queries(["topic 3"]), k=3)


async def test_asking_asynchronously_finds_the_same(folder):
    retriever = IndexRetriever(folder, filters={"n": {"$lt": 20}})
    assert await retriever.asearch(QUERIES, k=4) == retriever.search(QUERIES, k=4)
    assert await IndexRetriever(folder).asearch(QUERIES[:1], k=4) == IndexRetriever(folder).search(QUERIES[:1], k=4)


def test_task_instruction_and_filters_are_settings_of_a_copy_that_shares_index_and_model(folder, words):
    heard = []
    encode = words.encode_queries
    words.encode_queries = lambda texts, **said: heard.append((said["task"], said["instruction"])) or encode(texts)
    retriever = IndexRetriever(folder, task="pony")
    other = retriever.with_settings(instruction="Seek.", filters={"n": {"$gte": 20}})
    retriever.search(["q"], k=1)
    assert all(hit.document.metadata["n"] >= 20 for hit in other.search(["q"], k=30)[0])
    assert heard == [("pony", None), (None, "Seek.")]
    assert other.store is retriever.store


def test_nothing_is_opened_before_the_first_query(tmp_path):
    retriever = IndexRetriever(tmp_path / "missing")
    assert retriever.model_name is None
    with pytest.raises(StoreError, match="missing"):
        retriever.search(["q"], k=1)


@pytest.mark.parametrize("given", ["embedder", "name"])
def test_another_model_is_refused(folder, make_embedder, given):
    others = make_embedder(model="others")
    share_embedder("others", others)
    with pytest.raises(SpecMismatchError, match=r"'words'.*'others'"):
        IndexRetriever(folder, others if given == "embedder" else IndexModel(model="others")).search(["q"], k=1)


def test_an_index_that_names_no_model_wants_one(words, tmp_path):
    with FaissStore.create(tmp_path / "bare", dimension=words.dimension) as store:
        store.upsert(DOCUMENTS[:1], words.encode_documents(["one"]))
    with pytest.raises(InputError, match=r"bare.*\bmodel="):
        IndexRetriever(tmp_path / "bare").search(["q"], k=1)
    assert len(IndexRetriever(tmp_path / "bare", words).search(["q"], k=1)[0]) == 1


def test_a_truncated_index_is_asked_with_truncated_queries(tmp_path, tiny_model):
    model = str(tiny_model("bert", pooling="mean"))
    encoder = Encoder.from_pretrained(model, truncate_dim=16, dtype="float32")
    build_index(DOCUMENTS, tmp_path / "index", encoder)
    retriever = IndexRetriever(tmp_path / "index", IndexModel(dtype="float32"))
    found = retriever.search(["topic 3"], k=5)
    assert without_documents(found) == DenseRetriever(encoder, DOCUMENTS).search(["topic 3"], k=5)
    usage = retriever.usage()
    assert usage.query_tokens > 0
    assert usage.index_bytes >= 30 * 16 * 4


def test_an_unfinished_index_is_searched_with_a_warning(folder, caplog):
    (folder.parent / f"{folder.name}" / "unfinished").touch()
    with caplog.at_level(logging.WARNING):
        assert len(IndexRetriever(folder).search(["q"], k=2)[0]) == 2
    assert str(folder) in caplog.text


def test_an_index_goes_into_fusion(folder, words):
    index, dense, bm25 = IndexRetriever(folder), DenseRetriever(words, DOCUMENTS), BM25(DOCUMENTS)
    fused = Fusion([Weighted(index, 0.7), Weighted(bm25, 0.3)]).search(QUERIES, k=9)
    assert without_documents(fused) == Fusion([Weighted(dense, 0.7), Weighted(bm25, 0.3)]).search(QUERIES, k=9)
    (of_two,) = Fusion([index, index.with_settings(instruction="Seek.")], fusion="ranks").search(["topic 3"], k=5)
    assert [document.id for document in of_two.documents] == list(of_two.ids)


def test_an_index_is_evaluated_as_its_model_is_through_core(folder, words):
    options = RunOptions(k=20, batch_size=4)
    run = run_retriever(IndexRetriever(folder), TASK, options=options)
    assert run.results == run_retriever(DenseRetriever(words, DOCUMENTS), TASK, options=options).results
    assert all(result.hits.documents is None for result in run.results)
    report = evaluate(IndexRetriever(folder), TASK, system=System(name="index"), options=options)
    assert report.usage.index_bytes > 0
    assert report.mean_all["nDCG@10"] > 0


def test_robustness_takes_an_index(folder, words):
    options = RobustnessOptions(kinds=("misspelling",), seeds=(5,), asking=RunOptions(k=10))
    index = robustness(IndexRetriever(folder), TASK, system=System(name="x"), options=options)
    core = robustness(DenseRetriever(words, DOCUMENTS), TASK, system=System(name="x"), options=options)
    assert index.kinds == core.kinds
