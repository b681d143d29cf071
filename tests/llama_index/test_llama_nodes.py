"""Nodes of every kind come back from the store as they were, and do not hide each other."""

from __future__ import annotations

import base64
import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.indices.vector_store.retrievers import VectorIndexRetriever
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore, node_of

from reasonembed_rag.documents import Document as StoredDocument
from reasonembed_rag.errors import InputError
from reasonembed_stores import ChromaStore, FaissStore

BOOKKEEPING = ["doc_id", "document_id", "ref_doc_id", "_node_content", "_node_type"]
OTHERS = ["score", "id", "text", "path", "embedding", "metadata", "a.b", "größe", "naïve 文", "", "class_name"]


class Clause(TextNode):
    """A user's own kind of node."""

    paragraph: int = 0


class QuietClause(Clause):
    """A kind that names itself."""

    @classmethod
    def class_name(cls):
        return "Quiet"


LINKED = {
    NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book", metadata={"year": 1999}, hash="h"),
    NodeRelationship.NEXT: RelatedNodeInfo(node_id="n2"),
    NodeRelationship.CHILD: [RelatedNodeInfo(node_id="c1"), RelatedNodeInfo(node_id="c2")],
}
FORMATTED = {
    "metadata": {"author": "ann", "tags": ["x", "y"], "page": 3, "none": None, "nested": {"deep": [1, {"er": 2.5}]}},
    "excluded_embed_metadata_keys": ["author"],
    "excluded_llm_metadata_keys": ["page"],
    "metadata_template": "{key}={value}",
    "metadata_separator": "; ",
    "text_template": "{metadata_str} // {content}",
    "start_char_idx": 7,
    "end_char_idx": 19,
    "mimetype": "text/markdown",
}
PIXEL = base64.b64encode(b"not quite a picture").decode()
NODES = [
    TextNode(text="plain"),
    TextNode(text=""),
    TextNode(text="formatted", **FORMATTED),
    TextNode(text="linked", relationships=LINKED),
    IndexNode(text="a table", index_id="t1"),
    IndexNode(text="a parent", index_id="t2", obj=TextNode(text="the whole", metadata={"doc_id": "x"})),
    ImageNode(text="a caption", image=PIXEL, image_mimetype="image/png", text_embedding=[0.5, 1.0]),
    ImageNode(image_url="https://example.org/i.png"),
    ImageNode(image_path="/pictures/i.png"),
    Document(text="a document", metadata={"doc_id": "own"}),
    Document(),
    Node(text_resource=MediaResource(text="resource", url="https://example.org/")),
    Node(image_resource=MediaResource(data=b"bytes of a picture", mimetype="image/png")),
    Node(audio_resource=MediaResource(path="/sounds/a.mp3"), text_resource=MediaResource(text="")),
    Clause(text="own kind", paragraph=4),
    QuietClause(text="own name", paragraph=5, relationships=LINKED),
]


@pytest.fixture(params=["memory", "folder", "chroma"])
def store(request, tmp_path):
    if request.param == "chroma":
        made = ReasonEmbedVectorStore.from_store(ChromaStore.create(tmp_path / "chroma"))
    else:
        made = ReasonEmbedVectorStore(path=None if request.param == "memory" else str(tmp_path / "index"))
    yield made
    made.client.close()


@pytest.mark.parametrize("node", NODES, ids=lambda node: f"{type(node).__name__}-{node.get_content()}")
def test_a_node_comes_back_as_it_was(store, node):
    store.add([node.model_copy(update={"embedding": [1.0, 0.0]})])
    (stored,) = store.get_nodes([node.node_id])
    (found,) = store.query(VectorStoreQuery(query_embedding=[1.0, 0.0])).nodes
    for again in (stored, found):
        assert type(again) is type(node)
        assert again == node
        assert again.hash == node.hash
        assert again.relationships == node.relationships
        assert list(again.metadata) == list(node.metadata)
        assert [again.get_content(mode) for mode in MetadataMode] == [node.get_content(mode) for mode in MetadataMode]


def test_a_node_whose_class_is_not_loaded_comes_back_as_what_it_is_derived_from(store):
    class Fleeting(IndexNode):
        """A kind that another process does not have."""

    store.add([Fleeting(id_="f", text="gone soon", index_id="t", embedding=[1.0])])
    (document,) = store.client.get(["f"])
    renamed = {name: str(value).replace("Fleeting", "Gone") for name, value in document.metadata.items()}
    again = node_of(StoredDocument("f", document.content, renamed))
    assert (type(again), again.text, again.index_id) == (IndexNode, "gone soon", "t")


def _index(store, nodes):
    model = ReasonEmbedEmbedding(model_name="words")
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex([node.model_copy() for node in nodes], storage_context=context, embed_model=model)


def _found(index, **settings):
    return {(n.node_id, round(n.score, 5)) for n in index.as_retriever(similarity_top_k=99, **settings).retrieve("a")}


KINDS = st.sampled_from(
    [
        lambda name: TextNode(id_=name, text=f"text {name}"),
        lambda name: IndexNode(id_=name, text=f"table {name}", index_id=f"t-{name}"),
        lambda name: ImageNode(id_=name, text=f"picture {name}", image=PIXEL),
        lambda name: Document(id_=name, text=f"document {name}"),
        lambda name: Clause(id_=name, text=f"clause {name}"),
    ]
)


@settings(max_examples=25, deadline=None)
@given(kinds=st.lists(KINDS, min_size=1, max_size=6), data=st.data())
def test_nodes_of_mixed_kinds_are_found_as_in_simple_vector_store(kinds, data):
    from reasonembed_rag.encoder import share_embedder
    from tests.conftest import WordEmbedder

    share_embedder("words", WordEmbedder())
    nodes = [make(str(number)) for number, make in enumerate(kinds)]
    first = data.draw(st.integers(0, len(nodes)))
    indexes = [_index(store, nodes[:first]) for store in (SimpleVectorStore(), ReasonEmbedVectorStore())]
    for index in indexes:
        index.insert_nodes([node.model_copy() for node in nodes[first:]])
    assert _found(indexes[1]) == _found(indexes[0])
    gone = data.draw(st.lists(st.sampled_from([node.node_id for node in nodes]), unique=True))
    for index in indexes:
        index.delete_nodes(gone, delete_from_docstore=True)
    assert _found(indexes[1]) == _found(indexes[0])
    named = data.draw(st.lists(st.sampled_from([node.node_id for node in nodes]), unique=True, min_size=1))
    simple, ours = (index.vector_store.query(_restricted(named)) for index in indexes)
    assert set(ours.ids) == set(simple.ids)


def _restricted(names):
    return VectorStoreQuery(query_embedding=[0.5] * 32, node_ids=names, similarity_top_k=9)


MIXED = [
    TextNode(id_="text", text="Cats sleep."),
    TextNode(id_="other", text="Dogs bark."),
    IndexNode(id_="table", text="Lifespans", index_id="t"),
    ImageNode(id_="picture", text="A cat", image=PIXEL),
]


def test_nodes_that_are_inserted_into_an_opened_store_hide_nothing(store, words):
    _index(store, MIXED)
    index = VectorStoreIndex.from_vector_store(store, embed_model=ReasonEmbedEmbedding(model_name="words"))
    index.insert_nodes([IndexNode(id_="later", text="More lifespans", index_id="u")])
    assert {name for name, _ in _found(index)} == {"text", "other", "table", "picture", "later"}
    index.delete_nodes(["later"])
    assert {name for name, _ in _found(index)} == {"text", "other", "table", "picture"}


def test_a_retriever_can_be_restricted_to_nodes(store, words):
    index = _index(store, MIXED)
    retriever = VectorIndexRetriever(index, node_ids=["other", "table"], similarity_top_k=9)
    assert {n.node_id for n in retriever.retrieve("cats")} == {"other", "table"}
    assert set(store.query(VectorStoreQuery(query_embedding=[0.5] * 32, node_ids=["picture"])).ids) == {"picture"}


def test_an_index_node_leads_to_its_object(store, words):
    """Recursive retrieval, as LlamaIndex's guides show it."""
    parent = TextNode(id_="parent", text="The whole section.")
    table = _index(ReasonEmbedVectorStore(), [TextNode(id_="row", text="A cat lives for 15 years.")])
    nodes = [
        TextNode(id_="text", text="Cats sleep."),
        IndexNode(id_="child", text="section", index_id="parent", obj=parent),
    ]
    objects = [IndexNode(id_="rows", text="lifespans", index_id="table", obj=table.as_retriever(similarity_top_k=1))]
    index = VectorStoreIndex(
        nodes,
        objects=objects,
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=ReasonEmbedEmbedding(model_name="words"),
    )
    assert {n.node_id for n in index.as_retriever(similarity_top_k=9).retrieve("cat")} == {"text", "parent", "row"}


def test_values_that_json_lacks_are_kept_as_langchains_store_keeps_them(store, words):
    metadata = {"day": dt.date(2024, 2, 29), "n": np.int64(7), "path": Path("a/b"), "tags": ("x",)}
    _index(store, SentenceSplitter()([Document(text="Dated text.", doc_id="d", metadata=metadata)]))
    (node,) = store.get_nodes()
    plain = {"day": "2024-02-29", "n": 7, "path": "a/b", "tags": ["x"]}
    assert (node.metadata, node.source_node.metadata) == (plain, plain)
    later = MetadataFilters(filters=[MetadataFilter(key="day", value="2024-01-31", operator=">")])
    assert store.get_nodes(filters=later) == [node]
    with pytest.raises(InputError, match=r"'weight'"):
        store.add([TextNode(text="t", metadata={"weight": float("nan")}, embedding=[1.0] * 32)])


def test_an_object_that_is_not_json_is_refused_with_the_node_and_the_cure(store):
    node = IndexNode(id_="n", text="t", index_id="i", obj=object(), embedding=[1.0])
    with pytest.raises(InputError, match=r"'n'.*\bobjects="):
        store.add([node])


def _equal(key, value):
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


@pytest.mark.parametrize("key", BOOKKEEPING + OTHERS)
def test_a_field_of_any_name_is_kept_and_found(store, key):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book")}
    mine = TextNode(id_="mine", text="t", metadata={key: "INV-1", "n": 1}, relationships=source, embedding=[1.0])
    store.add([mine, TextNode(id_="other", text="t", relationships=source, embedding=[1.0])])
    query = VectorStoreQuery(query_embedding=[1.0], similarity_top_k=9, filters=_equal(key, "INV-1"))
    (found,) = store.query(query).nodes
    assert (found.metadata, found.ref_doc_id, found.text) == ({key: "INV-1", "n": 1}, "book", "t")
    store.delete("INV-1")
    assert len(store.client) == 2
    store.delete("book")
    assert len(store.client) == 0


@pytest.mark.parametrize("key", ["doc_id", "document_id", "ref_doc_id"])
def test_where_a_node_has_no_such_field_a_filter_finds_llama_indexs(store, key):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book")}
    store.add([TextNode(id_="a", text="t", relationships=source, embedding=[1.0])])
    (found,) = store.get_nodes(filters=_equal(key, "book"))
    assert found.metadata == {}
    assert store.get_nodes(filters=_equal("_node_type", "TextNode")) == [found]
    assert store.get_nodes(filters=_equal("_node_type", "IndexNode")) == []


def test_a_node_without_a_source_is_its_own(store):
    store.add([Document(id_="a", text="t", embedding=[1.0]), TextNode(id_="b", text="t", embedding=[1.0])])
    assert store.query(VectorStoreQuery(query_embedding=[1.0], doc_ids=["b"], similarity_top_k=9)).ids == ["b"]
    store.delete("None")
    store.delete("a")
    assert [node.node_id for node in store.get_nodes()] == ["b"]


def test_a_name_of_the_stores_own_is_refused_by_name(store):
    with pytest.raises(InputError, match=r"'n'.*'_llama_index_node'"):
        store.add([TextNode(id_="n", text="t", metadata={"_llama_index_node": 1}, embedding=[1.0])])


def _as_an_earlier_release_wrote_it(node):
    metadata = node_to_metadata_dict(node, remove_text=True, flat_metadata=False)
    return StoredDocument(node.node_id, node.get_content(metadata_mode=MetadataMode.NONE), metadata)


@pytest.fixture
def old_store(tmp_path):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="book")}
    nodes = [
        TextNode(id_="a", text="text of a", metadata={"doc_id": "own", "n": 1}, relationships=source),
        IndexNode(id_="b", text="text of b", index_id="t", relationships=source),
        TextNode(id_="c", text="text of c"),
    ]
    with FaissStore.create(tmp_path / "old") as old:
        old.upsert([_as_an_earlier_release_wrote_it(node) for node in nodes], [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    opened = ReasonEmbedVectorStore(path=str(tmp_path / "old"))
    yield opened
    opened.client.close()


def test_an_index_of_an_earlier_release_opens_and_is_searched(old_store):
    nodes = {node.node_id: node for node in old_store.get_nodes()}
    assert nodes["a"].metadata == {"doc_id": "own", "n": 1}
    assert (type(nodes["b"]), nodes["b"].index_id) == (IndexNode, "t")
    query = VectorStoreQuery(query_embedding=[1.0, 0.0], query_str="q", node_ids=["b"], similarity_top_k=9)
    assert old_store.query(query).ids == ["a", "b", "c"]
    assert [node.node_id for node in old_store.get_nodes(filters=_equal("ref_doc_id", "book"))] == ["a", "b"]


def test_nodes_of_an_earlier_release_are_deleted_by_their_document(old_store):
    old_store.add([TextNode(id_="d", text="t", metadata={"ref_doc_id": "c"}, embedding=[1.0, 0.0])])
    old_store.delete("book")
    assert [node.node_id for node in old_store.get_nodes()] == ["c", "d"]
    old_store.delete("c")
    assert [node.node_id for node in old_store.get_nodes()] == ["d"]
