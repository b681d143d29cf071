"""The query modes that match words, alone and with vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

from reasonembed_rag import BM25, Document
from reasonembed_rag.errors import InputError
from reasonembed_stores import ChromaStore, FaissStore

TEXTS = {
    "cats": "Cats sleep for most of the day.",
    "dogs": "Dogs bark at cats.",
    "birds": "Birds sing at dawn and sleep at night.",
    "boats": "Boats need wind.",
    "empty": "",
}
BM25_OF_ALL = BM25([Document(name, text) for name, text in TEXTS.items()])


def _node(name, text, **metadata):
    vector = [float(len(text)), float(text.count("a")), float(text.count("e")) + 1.0]
    return TextNode(id_=name, text=text, embedding=vector, metadata={"initial": name[0], **metadata})


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    made = ReasonEmbedVectorStore(path=None if request.param == "memory" else str(tmp_path / "index"))
    made.add([_node(name, text) for name, text in TEXTS.items()])
    yield made
    made.client.close()


def _ask(store, mode, text="which animals sleep?", k=5, vector=(1.0, 2.0, 3.0), **more):
    query = VectorStoreQuery(
        query_embedding=None if vector is None else list(vector),
        query_str=text,
        similarity_top_k=k,
        mode=VectorStoreQueryMode(mode),
        **more,
    )
    return store.query(query)


def _among(*initials):
    return MetadataFilters(filters=[MetadataFilter(key="initial", value=list(initials), operator="in")])


@pytest.mark.parametrize("mode", ["text_search", "sparse"])
def test_words_are_searched_by_bm25(store, mode):
    found = _ask(store, mode, "cats that sleep", vector=None)
    (wanted,) = BM25_OF_ALL.search(["cats that sleep"], k=5)
    assert found.ids == list(wanted.ids)
    np.testing.assert_allclose(found.similarities, wanted.scores, rtol=1e-6)
    assert [node.text for node in found.nodes] == [TEXTS[name] for name in found.ids]
    assert _ask(store, mode, "cats that sleep", vector=None, sparse_top_k=1).ids == found.ids[:1]


def test_restrictions_come_before_the_cut(store):
    assert _ask(store, "sparse", "sleep", k=1, filters=_among("b")).ids == ["birds"]
    assert _ask(store, "sparse", "sleep", k=1, node_ids=["birds", "boats"]).ids == ["birds"]
    assert _ask(store, "hybrid", "sleep", k=1, doc_ids=["boats"]).ids == ["boats"]


def test_what_is_added_and_removed_is_seen_at_the_next_query(store):
    assert "cats" in _ask(store, "sparse", "sleep").ids
    store.add([_node("moles", "Moles sleep under ground.")])
    store.delete_nodes(["cats"])
    assert set(_ask(store, "sparse", "sleep").ids) == {"birds", "moles"}
    store.clear()
    assert _ask(store, "sparse", "sleep").ids == _ask(store, "hybrid", "sleep").ids == []


def test_the_changes_of_another_writer_are_seen(tmp_path):
    path = str(tmp_path / "index")
    with FaissStore.create(path) as writer:
        writer.upsert([Document("cats", TEXTS["cats"])], np.ones((1, 3)))
        reader = ReasonEmbedVectorStore(path=path)
        assert _ask(reader, "sparse", "sleep").ids == ["cats"]
        writer.upsert([Document("birds", TEXTS["birds"])], np.ones((1, 3)))
        assert set(_ask(reader, "sparse", "sleep").ids) == {"birds", "cats"}
        reader.client.close()


def test_a_folder_in_the_place_of_another_is_seen(tmp_path):
    for name in ("cats", "birds"):
        with FaissStore.create(tmp_path / name) as made:
            made.upsert([Document(name, TEXTS[name])], np.ones((1, 3)))
    (tmp_path / "cats").rename(tmp_path / "index")
    reader = ReasonEmbedVectorStore(path=str(tmp_path / "index"))
    assert _ask(reader, "sparse", "sleep").ids == ["cats"]
    (tmp_path / "index").rename(tmp_path / "aside")
    (tmp_path / "birds").rename(tmp_path / "index")
    assert _ask(reader, "sparse", "sleep").ids == ["birds"]
    reader.client.close()


def test_a_chroma_store_is_not_searched_by_words(tmp_path):
    store = ReasonEmbedVectorStore.from_store(ChromaStore.create(tmp_path / "chroma"))
    store.add([_node("cats", TEXTS["cats"])])
    with pytest.raises(InputError, match=r"\bChromaStore\b.*\bQueryFusionRetriever\b"):
        _ask(store, "hybrid")


def _scaled(hits):
    scores = dict(zip(hits.ids, hits.similarities, strict=True))
    low, high = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    return {name: 1.0 if high == low else (score - low) / (high - low) for name, score in scores.items()}


@settings(max_examples=40, deadline=None)
@given(
    alpha=st.floats(0.01, 0.99),
    text=st.lists(st.sampled_from(["cats", "sleep", "dawn", "wind", "unseen"]), min_size=1).map(" ".join),
    vector=st.tuples(*[st.floats(0.1, 1.0)] * 3),
    initials=st.none() | st.lists(st.sampled_from("bcde"), min_size=1),
)
def test_hybrid_is_the_weighted_sum_of_both_scaled(alpha, text, vector, initials):
    store = ReasonEmbedVectorStore()
    store.add([_node(name, words) for name, words in TEXTS.items()])
    filters = None if initials is None else _among(*initials)
    dense = _scaled(_ask(store, "default", text, k=9, vector=vector, filters=filters))
    words = _scaled(_ask(store, "sparse", text, k=9, filters=filters))
    wanted = {name: alpha * dense[name] + (1 - alpha) * words.get(name, 0.0) for name in dense}
    found = _ask(store, "hybrid", text, k=9, vector=vector, alpha=alpha, filters=filters)
    assert set(found.ids) == set(wanted)
    np.testing.assert_allclose(found.similarities, [wanted[name] for name in found.ids], atol=1e-6)
    assert found.similarities == sorted(found.similarities, reverse=True)


def test_alpha_at_its_ends_is_one_of_both(store):
    assert _ask(store, "hybrid", alpha=1.0).ids == _ask(store, "default").ids
    assert _ask(store, "hybrid", alpha=0.0).ids == _ask(store, "sparse").ids
    assert len(_ask(store, "hybrid", k=4, hybrid_top_k=2).ids) == 2


def test_an_index_is_searched_by_words_and_vectors(words, store):
    model = ReasonEmbedEmbedding(model_name="words")
    mine = ReasonEmbedVectorStore()
    index = VectorStoreIndex(
        [TextNode(id_=name, text=text) for name, text in TEXTS.items() if text],
        storage_context=StorageContext.from_defaults(vector_store=mine),
        embed_model=model,
    )
    found = index.as_retriever(vector_store_query_mode="hybrid", alpha=0.3, similarity_top_k=2).retrieve("cats sleep")
    assert found[0].node_id == "cats"
    words.calls.clear()
    found = index.as_retriever(vector_store_query_mode="text_search", similarity_top_k=1).retrieve("cats sleep")
    assert ([n.node_id for n in found], words.calls) == (["cats"], [])


@pytest.mark.parametrize(
    ("mode", "more", "named"),
    [
        ("sparse", {"text": None}, "query_str"),
        ("hybrid", {"text": ""}, "query_str"),
        ("hybrid", {"vector": None}, "embed"),
        ("hybrid", {"alpha": 1.5}, "1.5"),
        ("hybrid", {"k": 0}, "0"),
    ],
)
def test_a_query_that_lacks_what_its_mode_needs_is_refused(store, mode, more, named):
    with pytest.raises(InputError, match=named):
        _ask(store, mode, **more)


def test_mmr_picks_from_as_many_as_it_is_told(store):
    query = VectorStoreQuery(query_embedding=[1.0, 2.0, 3.0], similarity_top_k=2, mode=VectorStoreQueryMode.MMR)
    nearest = _ask(store, "default", k=2).ids
    assert set(store.query(query, mmr_threshold=0.0, mmr_prefetch_k=2).ids) == set(nearest)
    assert set(store.query(query, mmr_threshold=0.0, mmr_prefetch_factor=1.0).ids) == set(nearest)
    assert set(store.query(query, mmr_threshold=0.0).ids) != set(nearest)
    with pytest.raises(InputError, match="mmr_prefetch_k"):
        store.query(query, mmr_prefetch_k=2, mmr_prefetch_factor=2.0)


def test_numpy_counts_are_counts(store):
    assert _ask(store, "hybrid", k=np.int64(2), hybrid_top_k=np.int32(1)).ids == _ask(store, "hybrid", k=1).ids
    assert _ask(store, "default", k=np.int64(2), vector=None, filters=_among("b")).ids == ["birds", "boats"]
