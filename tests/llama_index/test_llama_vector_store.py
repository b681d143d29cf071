"""ReasonEmbedVectorStore: the behaviour of LlamaIndex's SimpleVectorStore suite, and its filters as the oracle."""

from __future__ import annotations

import pickle
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_stores import ChromaStore


def _node(name, vector, source, **metadata):
    relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=name, text=f"text of {name}", embedding=vector, relationships=relationships, metadata=metadata)


NODES = [
    _node("a", [1.0, 0.0], "book", weight=1.0, rank="a", tags=["red", "blue"], lang="en"),
    _node("b", [0.0, 1.0], "book", weight=2.0, rank="c", tags=["red"], lang="de"),
    _node("c", [1.0, 1.0], "film", weight=3.0, rank="b", tags=[], note="Cats and dogs"),
]


@pytest.fixture(params=["memory", "folder", "chroma"])
def store(request, tmp_path):
    if request.param == "chroma":
        made = ReasonEmbedVectorStore.from_store(ChromaStore.create(tmp_path / "chroma"))
    else:
        made = ReasonEmbedVectorStore(path=None if request.param == "memory" else str(tmp_path / "index"))
    made.add(NODES)
    yield made
    made.client.close()


def _filter(key, operator, value):
    return MetadataFilter(key=key, operator=operator, value=value)


RANK_B = MetadataFilters(filters=[MetadataFilter(key="rank", value="b")])


def _found(store, *filters, condition=FilterCondition.AND, **query):
    parts = [
        f if isinstance(f, MetadataFilters) else MetadataFilter(key=f[0], operator=f[1], value=f[2]) for f in filters
    ]
    query.setdefault("similarity_top_k", 3)
    chosen = MetadataFilters(filters=parts, condition=condition) if parts else None
    return store.query(VectorStoreQuery(query_embedding=[1.0, 0.1], filters=chosen, **query)).ids


def test_it_is_a_llama_index_vector_store():
    assert BasePydanticVectorStore.__name__ in [base.__name__ for base in ReasonEmbedVectorStore.__mro__]


def test_the_nearest_come_first_with_their_cosines(store):
    result = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=3))
    assert result.ids == ["a", "c", "b"]
    np.testing.assert_allclose(result.similarities, [1.0, 0.5**0.5, 0.0], atol=1e-7)
    assert all(type(score) is float for score in result.similarities)
    assert [node.text for node in result.nodes] == ["text of a", "text of c", "text of b"]
    assert result.nodes[0].metadata == NODES[0].metadata
    assert result.nodes[0].ref_doc_id == "book"


def test_top_k_beyond_the_count_gives_all(store):
    assert _found(store, similarity_top_k=99) == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (("weight", FilterOperator.EQ, 1.0), {"a"}),
        (("weight", FilterOperator.NE, 1.0), {"b", "c"}),
        (("weight", FilterOperator.GT, 1.0), {"b", "c"}),
        (("weight", FilterOperator.GTE, 2.0), {"b", "c"}),
        (("weight", FilterOperator.LT, 3), {"a", "b"}),
        (("weight", FilterOperator.LTE, 1), {"a"}),
        (("rank", FilterOperator.GTE, "b"), {"b", "c"}),
        (("rank", FilterOperator.IN, ["a", "b"]), {"a", "c"}),
        (("rank", FilterOperator.NIN, ["a", "b"]), {"b"}),
        (("lang", FilterOperator.NE, "en"), {"b", "c"}),
        (("lang", FilterOperator.NIN, ["en"]), {"b", "c"}),
        (("tags", FilterOperator.CONTAINS, "blue"), {"a"}),
        (("tags", FilterOperator.ANY, ["blue", "red"]), {"a", "b"}),
        (("tags", FilterOperator.ALL, ["blue", "red"]), {"a"}),
        (("tags", FilterOperator.IS_EMPTY, None), {"c"}),
        (("lang", FilterOperator.IS_EMPTY, None), {"c"}),
        (("note", FilterOperator.TEXT_MATCH, "Cats"), {"c"}),
        (("note", FilterOperator.TEXT_MATCH, "cats"), set()),
        (("note", FilterOperator.TEXT_MATCH_INSENSITIVE, "CATS"), {"c"}),
    ],
)
def test_a_filter_finds_exactly_what_it_says(store, part, found):
    assert set(_found(store, part)) == found


def test_conditions_combine_and_nest(store):
    light, first = ("weight", FilterOperator.LT, 3), ("rank", FilterOperator.EQ, "a")
    assert _found(store, light, first) == ["a"]
    assert set(_found(store, light, first, condition=FilterCondition.OR)) == {"a", "b"}
    assert _found(store, light, first, condition=FilterCondition.NOT) == ["c"]
    inner = MetadataFilters(
        filters=[MetadataFilter(key="rank", value="a"), MetadataFilter(key="rank", value="b")],
        condition=FilterCondition.OR,
    )
    assert _found(store, inner, ("weight", FilterOperator.GT, 1)) == ["c"]


def test_node_ids_and_document_ids_bound_the_search(store):
    assert _found(store, node_ids=["b", "c", "absent"]) == ["c", "b"]
    assert _found(store, doc_ids=["book"]) == ["a", "b"]
    assert _found(store, doc_ids=["book"], node_ids=["b", "c"]) == ["b"]


def test_deleting_a_document_removes_all_its_nodes(store):
    store.delete("book")
    store.delete("absent")
    assert _found(store) == ["c"]


def test_nodes_are_deleted_by_ids_and_filters(store):
    store.delete_nodes(["a", "absent"])
    assert _found(store) == ["c", "b"]
    store.delete_nodes(["b", "c"], filters=RANK_B)
    assert _found(store) == ["b"]
    with pytest.raises(InputError, match=r"\bnode_ids\b.*\bfilters\b.*\bclear\(\)"):
        store.delete_nodes()


def test_get_nodes_gives_back_what_was_added(store):
    assert [node.node_id for node in store.get_nodes(["c", "absent", "a"])] == ["c", "a"]
    assert [n.node_id for n in store.get_nodes(filters=RANK_B)] == ["c"]
    again = store.get_nodes(["a"])[0]
    assert (again.text, again.metadata, again.relationships) == (
        NODES[0].text,
        NODES[0].metadata,
        NODES[0].relationships,
    )


def test_a_query_without_an_embedding_gives_what_satisfies_its_filters(store):
    query = VectorStoreQuery(filters=RANK_B, similarity_top_k=9)
    assert store.query(query).ids == ["c"]
    with pytest.raises(InputError):
        store.query(VectorStoreQuery())


def test_a_node_whose_metadata_is_not_json_is_named_and_nothing_is_added(store):
    before = len(store.client)
    with pytest.raises(InputError, match=r"'odd'.*\bJSON\b"):
        store.add([TextNode(id_="odd", text="x", metadata={"a": object()}, embedding=[1.0, 0.0])])
    assert len(store.client) == before


def test_clear_empties_even_an_empty_store(store):
    store.clear()
    store.clear()
    assert _found(store) == []
    store.add(NODES[:1])
    assert _found(store) == ["a"]


def test_adding_a_known_id_replaces_its_node(store):
    store.add([_node("a", [0.0, 1.0], "film", weight=9.0)])
    assert store.get_nodes(["a"])[0].metadata == {"weight": 9.0}
    assert _found(store) == ["c", "b", "a"]
    store.delete("film")
    assert _found(store) == ["b"]


def test_mmr_prefers_variety_as_its_threshold_falls():
    store = ReasonEmbedVectorStore()
    store.add([_node("x", [1.0, 0.0], "s"), _node("y", [0.99, 0.1], "s"), _node("z", [0.3, 1.0], "s")])
    query = {"query_embedding": [1.0, 0.05], "similarity_top_k": 2, "mode": VectorStoreQueryMode.MMR}
    assert set(store.query(VectorStoreQuery(**query, mmr_threshold=1.0)).ids) == {"x", "y"}
    assert "z" in store.query(VectorStoreQuery(**query, mmr_threshold=0.1)).ids


def test_other_modes_and_arguments_are_refused(store):
    for mode in ("svm", "linear_regression", "logistic_regression", "semantic_hybrid"):
        with pytest.raises(InputError, match=rf"'{mode}'.*'hybrid'"):
            store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], mode=VectorStoreQueryMode(mode)))
    with pytest.raises(InputError, match="'tpo_k'"):
        store.query(VectorStoreQuery(query_embedding=[1.0, 0.0]), tpo_k=3)
    with pytest.raises(InputError, match=r"'n'.*\bembedding\b"):
        store.add([TextNode(id_="n", text="t")])


async def test_async_twins_do_the_same(tmp_path):
    store = ReasonEmbedVectorStore(path=str(tmp_path / "index"))
    assert await store.async_add(NODES) == ["a", "b", "c"]
    assert (await store.aquery(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=1))).ids == ["a"]
    assert [node.node_id for node in await store.aget_nodes(["b"])] == ["b"]
    await store.adelete_nodes(["b"])
    await store.adelete("film")
    assert [node.node_id for node in store.get_nodes()] == ["a"]
    await store.aclear()
    assert store.get_nodes() == []


@pytest.mark.parametrize("store", ["memory", "folder"], indirect=True)
def test_persist_writes_a_folder_that_opens_again(store, tmp_path):
    store.persist(str(tmp_path / "saved"))
    again = ReasonEmbedVectorStore.from_persist_path(str(tmp_path / "saved"))
    assert _found(again) == _found(store)
    store.delete("book")
    again.client.close()
    store.persist(str(tmp_path / "saved"))
    assert _found(ReasonEmbedVectorStore.from_persist_path(str(tmp_path / "saved"))) == ["c"]


def test_a_whole_index_runs_through_it_and_through_storage_contexts(tmp_path, words):
    model = ReasonEmbedEmbedding(model_name="words")
    store = ReasonEmbedVectorStore.for_model(model)
    documents = [Document(text=f"about {name}", doc_id=name) for name in ("cats", "dogs", "boats")]
    index = VectorStoreIndex.from_documents(
        documents, storage_context=StorageContext.from_defaults(vector_store=store), embed_model=model
    )
    assert index.as_retriever(similarity_top_k=1).retrieve("about dogs")[0].node.ref_doc_id == "dogs"
    index.delete_ref_doc("dogs")
    assert index.as_retriever(similarity_top_k=1).retrieve("about dogs")[0].node.ref_doc_id != "dogs"
    index.storage_context.persist(str(tmp_path / "storage"))
    again = ReasonEmbedVectorStore.from_persist_dir(str(tmp_path / "storage"))
    loaded = VectorStoreIndex.from_vector_store(again, embed_model=model)
    assert loaded.as_retriever(similarity_top_k=9).retrieve("cats")[0].node.ref_doc_id == "cats"
    retriever = ReasonEmbedRetriever(str(tmp_path / "storage" / "default__vector_store.json"))
    assert retriever.retrieve("cats")[0].node.ref_doc_id == "cats"


def test_a_store_for_one_model_refuses_another(tmp_path, words, make_embedder):
    from reasonembed_rag.encoder import share_embedder

    share_embedder("others", make_embedder(model="others"))
    path = str(tmp_path / "index")
    ReasonEmbedVectorStore.for_model(ReasonEmbedEmbedding(model_name="words"), path).client.close()
    with pytest.raises(SpecMismatchError):
        ReasonEmbedVectorStore.for_model(ReasonEmbedEmbedding(model_name="others"), path)


def test_pickle_carries_the_path_and_never_loses_a_store_in_memory(tmp_path):
    store = ReasonEmbedVectorStore(path=str(tmp_path / "index"))
    store.add(NODES)
    assert _found(pickle.loads(pickle.dumps(store))) == _found(store)
    assert ReasonEmbedVectorStore.from_dict(store.to_dict()).path == store.path
    memory = ReasonEmbedVectorStore()
    memory.add(NODES)
    with pytest.raises(InputError, match=r"\bmemory\b.*\bpath\b"):
        pickle.dumps(memory)


TEXT = ["text_match", "text_match_insensitive"]
metadata = st.fixed_dictionaries(
    {},
    optional={
        "n": st.integers(-3, 3),
        "s": st.sampled_from(["a", "ab", "B"]),
        "l": st.lists(st.sampled_from(["a", "b"])),
    },
)
parts = st.one_of(
    st.tuples(st.just("n"), st.sampled_from(["==", "!=", ">", ">=", "<", "<="]), st.integers(-3, 3)),
    st.tuples(st.just("n"), st.sampled_from(["in", "nin"]), st.lists(st.integers(-3, 3), min_size=1)),
    st.tuples(
        st.just("s"),
        st.sampled_from(["==", "!=", ">", "<=", *TEXT, "contains"]),
        st.sampled_from(["a", "b", "AB"]),
    ),
    st.tuples(
        st.sampled_from(["l", "s"]), st.sampled_from(["any", "all"]), st.lists(st.sampled_from(["a", "b"]), min_size=1)
    ),
    st.tuples(st.just("s"), st.sampled_from(["in", "nin"]), st.lists(st.sampled_from(["a", "ab", "B"]), min_size=1)),
    st.tuples(st.just("absent"), st.sampled_from(["==", "!=", ">", "contains", *TEXT]), st.just("a")),
    st.tuples(st.just("absent"), st.sampled_from(["in", "nin", "any", "all"]), st.just(["a"])),
    st.tuples(st.just("l"), st.just("contains"), st.sampled_from(["a", "b"])),
    st.tuples(st.sampled_from(["n", "s", "l", "absent"]), st.just("is_empty"), st.none()),
)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(metadata, min_size=1, max_size=8),
    filters=st.lists(parts, min_size=1, max_size=3),
    condition=st.sampled_from(list(FilterCondition)),
)
def test_filters_mean_what_llama_index_says_they_mean(rows, filters, condition):
    store = ReasonEmbedVectorStore()
    store.add([_node(str(n), [1.0, float(n)], "s", **row) for n, row in enumerate(rows)])
    chosen = MetadataFilters(
        filters=[MetadataFilter(key=key, operator=operator, value=value) for key, operator, value in filters],
        condition=condition,
    )
    oracle = build_metadata_filter_fn(lambda name: rows[int(name)], chosen)
    with suppress(TypeError):  # the oracle cannot compare a string with a number; ours then says no
        wanted = {str(n) for n in range(len(rows)) if oracle(str(n))}
        found = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=9, filters=chosen))
        assert set(found.ids) == wanted
