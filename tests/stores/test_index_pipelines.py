"""Stages that move vectors work over a saved index as they do over documents in memory."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from reasonembed_rag import Document
from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_rag.pipeline import (
    DenseReasoner,
    ExpandedRetriever,
    FilteredRetriever,
    NearDuplicateFilter,
    Pipeline,
    PipelineStage,
    ReasonedRetriever,
    ReasonerLayers,
    VectorFeedback,
    read_pipeline,
)
from reasonembed_rag.protocols import Expansion, VectorRetriever
from reasonembed_rag.retrieval import BM25, DenseRetriever
from reasonembed_stores import ChromaStore, FaissStore, IndexRetriever, fused

DOCUMENTS = [Document(f"d{n:02}", f"passage about topic {n % 5}, number {n}", {"n": n}) for n in range(30)]
QUERIES = ["topic 3", "number 7", "a passage"]


class _Writer:
    """An expander that writes one query and one document for each query."""

    def expand(self, queries, *, retriever=None, excluded_ids=None):
        del retriever, excluded_ids
        return [Expansion(queries=(f"{query} number",), documents=("passage about topic 4",)) for query in queries]


def _layers(d):
    generator = np.random.default_rng(0)
    shapes = [(4 * d, d), (4 * d,), (d, 4 * d), (d,)]
    return ReasonerLayers(*(generator.standard_normal(shape, dtype=np.float32) / 8 for shape in shapes))


def _reasoner(words):
    return DenseReasoner(words.dimension, words.spec.space(), "words", _layers(words.dimension))


def _stages(words):
    mean = partial(ExpandedRetriever, expander=_Writer(), combine="mean")
    lists = partial(ExpandedRetriever, expander=_Writer(), combine="lists")
    return {
        "mean": [PipelineStage("mean", mean)],
        "lists": [PipelineStage("lists", lists)],
        "feedback": [PipelineStage("feedback", partial(VectorFeedback, depth=3))],
        "reasoner": [PipelineStage("reasoner", partial(ReasonedRetriever, reasoner=_reasoner(words)))],
        "reasoner, then feedback": [
            PipelineStage("reasoner", partial(ReasonedRetriever, reasoner=_reasoner(words))),
            PipelineStage("feedback", partial(VectorFeedback, depth=3)),
        ],
    }


@pytest.fixture(params=["faiss", "chroma"])
def folder(request, tmp_path, words):
    vectors = words.encode_documents([document.content for document in DOCUMENTS])
    if request.param == "faiss":
        with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
            store.upsert(DOCUMENTS, vectors)
    else:
        ChromaStore.create(tmp_path / "index", spec=words.spec, ef_search=100, max_neighbors=64).upsert(
            DOCUMENTS, vectors
        )
    return tmp_path / "index"


@pytest.mark.parametrize("name", ["mean", "lists", "feedback", "reasoner", "reasoner, then feedback"])
def test_stages_over_an_index_find_what_they_find_in_memory(folder, words, name):
    stages = _stages(words)[name]
    excluded = [["d03"], [], ["d00", "unknown"]]
    ours = Pipeline(IndexRetriever(folder), stages).search(QUERIES, k=6, excluded_ids=excluded)
    theirs = Pipeline(DenseRetriever(words, DOCUMENTS), stages).search(QUERIES, k=6, excluded_ids=excluded)
    assert [hits.ids for hits in ours] == [hits.ids for hits in theirs]
    for one, other in zip(ours, theirs, strict=True):
        length = np.linalg.norm(one.scores) / np.linalg.norm(other.scores)  # an index gives cosines of any vector
        np.testing.assert_allclose(one.scores, other.scores * length, atol=1e-5)
        assert [document.id for document in one.documents] == list(one.ids)


def test_filters_hold_within_stages(folder, words):
    few = IndexRetriever(folder, filters={"n": {"$lt": 10}})
    for stages in _stages(words).values():
        (hits,) = Pipeline(few, stages).search(["topic 3"], k=30)
        assert sorted(hits.ids) == [f"d{n:02}" for n in range(10)]


def test_of_vectors_and_words_the_moved_vector_is_fused_with_the_words_of_the_query(tmp_path, words):
    with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    hybrid = IndexRetriever(tmp_path / "index", bm25_weight=0.25)
    reasoner = _reasoner(words)
    (found,) = Pipeline(hybrid, [PipelineStage("r", partial(ReasonedRetriever, reasoner=reasoner))]).search(
        ["number 7"], k=5
    )
    dense = DenseRetriever(words, DOCUMENTS)
    (moved,) = dense.search_vectors(reasoner.mapped(dense.embed_queries(["number 7"])), k=30)
    spoken = hybrid.search_hybrid(["number 7"], k=30)[0].bm25
    expected = fused(moved, spoken, bm25_weight=0.25, k=5)
    assert found.ids == expected.ids
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    with pytest.raises(InputError, match=r"0\.25.*texts"):
        hybrid.search_vectors(dense.embed_queries(["number 7"]), k=5)


def test_a_file_names_a_reasoner_by_its_folder(folder, words, tmp_path):
    _reasoner(words).save(tmp_path / "mapped")
    (tmp_path / "pipeline.toml").write_text('[[stage]]\nkind = "dense-reasoner"\npath = "mapped"\n')
    settings = read_pipeline(tmp_path / "pipeline.toml")
    (found,) = settings.build(IndexRetriever(folder)).search(["topic 3"], k=5)
    (expected,) = ReasonedRetriever(IndexRetriever(folder), _reasoner(words)).search(["topic 3"], k=5)
    assert found == expected


def test_a_reasoner_is_refused_where_vectors_are_of_another_model_or_none(folder):
    other = DenseReasoner(32, "another space", "others")
    with pytest.raises(SpecMismatchError, match="others"):
        Pipeline(IndexRetriever(folder), [PipelineStage("r", partial(ReasonedRetriever, reasoner=other))])
    with pytest.raises(InputError, match="BM25 gives no vectors"):
        Pipeline(BM25(DOCUMENTS), [PipelineStage("r", partial(ReasonedRetriever, reasoner=other))])


def test_filters_of_planted_documents_take_the_vectors_of_the_index(folder, words):
    near = partial(FilteredRetriever, filters=[NearDuplicateFilter(similarity=0.7)])
    reasoner = PipelineStage("reasoner", partial(ReasonedRetriever, reasoner=_reasoner(words)))
    for stages in ([PipelineStage("near", near)], [reasoner, PipelineStage("near", near)]):
        (ours,) = Pipeline(IndexRetriever(folder), stages).search(["topic 3"], k=30)
        by_id = {document.id: document for document in DOCUMENTS}
        around = [*stages[:-1], PipelineStage("near", partial(near, documents=by_id))]
        (theirs,) = Pipeline(DenseRetriever(words, DOCUMENTS), around).search(["topic 3"], k=30)
        assert ours.ids == theirs.ids
        assert 0 < len(ours) < 30


def test_an_index_is_a_vector_retriever(folder, words):
    retriever = IndexRetriever(folder)
    assert isinstance(retriever, VectorRetriever)
    contents = [DOCUMENTS[4].content, DOCUMENTS[2].content]
    np.testing.assert_allclose(retriever.vectors_of(["d04", "d02"]), words.encode_documents(contents), atol=1e-6)
    np.testing.assert_allclose(retriever.embed_documents(contents), words.encode_documents(contents), atol=1e-6)
    with pytest.raises(InputError, match="nothing"):
        retriever.vectors_of(["nothing"])
