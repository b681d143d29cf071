"""Documents are added, changed and dropped through our store as through SimpleVectorStore."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

from reasonembed_rag.encoder import share_embedder
from reasonembed_stores import FaissStore
from tests.conftest import WordEmbedder


@pytest.fixture
def model(words):
    return ReasonEmbedEmbedding(model_name="words")


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path, model):
    made = ReasonEmbedVectorStore.for_model(model, None if request.param == "memory" else str(tmp_path / "index"))
    yield made
    made.client.close()


def _documents(versions):
    return [Document(text=_text(name, number), doc_id=name) for name, number in versions.items()]


def _text(name, number):
    return ". ".join(f"Sentence {place} of {name} in version {number}" for place in range(number + 1))


def _texts(store):
    return sorted(node.text for node in store.get_nodes())


RUNS = st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2)), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(runs=RUNS, strategy=st.sampled_from(list(DocstoreStrategy)))
def test_a_pipeline_leaves_what_it_leaves_in_simple_vector_store(runs, strategy):
    share_embedder("words", WordEmbedder())
    left = []
    for store in (SimpleVectorStore(), ReasonEmbedVectorStore()):
        pipeline = IngestionPipeline(
            transformations=[
                SentenceSplitter(chunk_size=12, chunk_overlap=0),
                ReasonEmbedEmbedding(model_name="words"),
            ],
            docstore=SimpleDocumentStore(),
            vector_store=store,
            docstore_strategy=strategy,
        )
        for versions in runs:
            pipeline.run(documents=_documents(versions))
        simple = isinstance(store, SimpleVectorStore)
        names = store.data.text_id_to_ref_doc_id.values() if simple else [n.ref_doc_id for n in store.get_nodes()]
        left.append(Counter(names))
    assert left[1].keys() == left[0].keys()
    if strategy != DocstoreStrategy.DUPLICATES_ONLY:  # which lets a version that comes back be added beside itself
        assert left[1] == left[0]


@settings(max_examples=40, deadline=None)
@given(runs=RUNS, drops=st.booleans(), reopens=st.booleans())
def test_upserts_of_documents_that_are_not_split_leave_each_in_its_last_version(runs, drops, reopens):
    share_embedder("words", WordEmbedder())
    store = ReasonEmbedVectorStore()
    docstore = SimpleDocumentStore()
    wanted = {}
    for versions in runs:
        IngestionPipeline(
            transformations=[ReasonEmbedEmbedding(model_name="words")],
            docstore=store.make_docstore() if reopens else docstore,
            vector_store=store,
            docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE if drops else DocstoreStrategy.UPSERTS,
        ).run(documents=_documents(versions))
        wanted = versions if drops else wanted | versions
    assert _texts(store) == sorted(_text(name, number) for name, number in wanted.items())


async def test_an_asynchronous_pipeline_removes_what_was_dropped(store, model):
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), model],
        docstore=SimpleDocumentStore(),
        vector_store=store,
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    )
    await pipeline.arun(documents=_documents({"a": 0, "b": 0, "c": 0}))
    await pipeline.arun(documents=_documents({"b": 0, "c": 1}))
    assert _texts(store) == sorted([_text("b", 0), _text("c", 1)])


def _index(store, model, versions):
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(_documents(versions), storage_context=context, embed_model=model)


def _built(store, model, versions, _folder):
    return _index(store, model, versions)


def _opened(store, model, versions, _folder):
    _index(store, model, versions)
    return VectorStoreIndex.from_vector_store(store, embed_model=model)


def _loaded(store, model, versions, folder):
    index = _opened(store, model, versions, folder)
    index.storage_context.persist(folder)
    context = StorageContext.from_defaults(vector_store=store, persist_dir=str(folder))
    return load_index_from_storage(context, embed_model=model)


@pytest.fixture(params=[_built, _opened, _loaded])
def index(request, store, model, tmp_path):
    return request.param(store, model, {"a": 0, "b": 0, "c": 0}, tmp_path / "storage")


def test_refresh_embeds_what_is_new_or_changed(index, store, words):
    words.calls.clear()
    refreshed = index.refresh_ref_docs(_documents({"a": 0, "b": 1, "d": 0}))
    assert refreshed == [False, True, True]
    assert [texts for _, texts in words.calls] == [[_text("b", 1)], [_text("d", 0)]]
    assert _texts(store) == sorted([_text("a", 0), _text("b", 1), _text("c", 0), _text("d", 0)])
    assert index.refresh_ref_docs(_documents({"a": 0, "b": 1, "d": 0})) == [False, False, False]


async def test_refresh_does_the_same_in_async_calls(index, store):
    assert await index.arefresh_ref_docs(_documents({"a": 0, "b": 1, "d": 0})) == [False, True, True]
    assert _texts(store) == sorted([_text("a", 0), _text("b", 1), _text("c", 0), _text("d", 0)])


def test_documents_are_inserted_updated_and_deleted(index, store):
    index.insert(*_documents({"d": 0}))
    index.update_ref_doc(*_documents({"a": 2}))
    index.delete_ref_doc("b", delete_from_docstore=True)
    index.delete_ref_doc("absent", delete_from_docstore=True)
    assert _texts(store) == sorted([_text("a", 2), _text("c", 0), _text("d", 0)])


def test_a_document_that_was_deleted_from_the_docstore_too_is_new_again(index, store):
    index.delete_ref_doc("a", delete_from_docstore=True)
    assert index.refresh_ref_docs(_documents({"a": 0, "b": 0})) == [True, False]
    assert _texts(store) == sorted([_text("a", 0), _text("b", 0), _text("c", 0)])


async def test_it_is_new_again_in_async_calls(index, store):
    await index.adelete_ref_doc("a", delete_from_docstore=True)
    assert await index.arefresh_ref_docs(_documents({"a": 0, "b": 0})) == [True, False]
    assert _texts(store) == sorted([_text("a", 0), _text("b", 0), _text("c", 0)])


def test_what_was_deleted_from_an_opened_index_is_new_again(store, model):
    index = _opened(store, model, {"a": 0, "b": 0}, None)
    index.delete_ref_doc("a", delete_from_docstore=True)
    store.delete_nodes([store.get_nodes()[0].node_id])
    assert index.refresh_ref_docs(_documents({"a": 0, "b": 0})) == [True, True]
    assert _texts(store) == sorted([_text("a", 0), _text("b", 0)])
    store.clear()
    assert index.refresh_ref_docs(_documents({"a": 0})) == [True]


def test_what_another_writer_changed_is_seen(model, tmp_path):
    store = ReasonEmbedVectorStore.for_model(model, str(tmp_path / "index"))
    _index(store, model, {"a": 0, "b": 0})
    store.client.save()
    index = VectorStoreIndex.from_vector_store(store, embed_model=model)
    assert index.refresh_ref_docs(_documents({"a": 0, "b": 0})) == [False, False]
    with FaissStore.open(tmp_path / "index") as other:
        other.delete([node.node_id for node in store.get_nodes() if node.ref_doc_id == "a"])
    assert index.refresh_ref_docs(_documents({"a": 0, "b": 0})) == [True, False]
    store.client.close()


def test_a_document_in_two_versions_is_refreshed_to_one(store, model):
    _index(store, model, {"a": 0})
    index = VectorStoreIndex.from_vector_store(store, embed_model=model)
    index.docstore.get_document_hash("a")
    _index(store, model, {"a": 1})
    assert index.refresh_ref_docs(_documents({"a": 1})) == [True]
    assert _texts(store) == [_text("a", 1)]


LONG = {"a": 2, "b": 2, "c": 1}


def test_a_script_that_runs_twice_adds_nothing(store, model, caplog):
    split = [SentenceSplitter(chunk_size=12, chunk_overlap=0)]
    for documents in (_documents(LONG), _documents(LONG)):
        context = StorageContext.from_defaults(vector_store=store)
        VectorStoreIndex.from_documents(
            documents, storage_context=context, embed_model=model, transformations=split, insert_batch_size=2
        )
    nodes = split[0](_documents(LONG))
    assert _texts(store) == sorted(node.text for node in nodes)
    assert len(nodes) > len(LONG)
    assert not caplog.records


def test_equal_parts_of_a_document_are_all_kept(store, model):
    document = Document(text="Same line.\n\nSame line.\n\nSame line.", doc_id="d")
    context = StorageContext.from_defaults(vector_store=store)
    split = [SentenceSplitter(chunk_size=5, chunk_overlap=0)]
    VectorStoreIndex.from_documents(
        [document], storage_context=context, embed_model=model, transformations=split, insert_batch_size=1
    )
    assert _texts(store) == ["Same line."] * 3


def test_another_version_of_a_document_stays_with_a_warning_that_names_the_cure(store, model, caplog):
    _index(store, model, {"a": 0, "b": 0})
    index = _index(store, model, {"a": 1, "c": 0})
    assert _texts(store) == sorted([_text("a", 0), _text("a", 1), _text("b", 0), _text("c", 0)])
    (told,) = caplog.messages
    assert "'a'" in told
    assert "refresh_ref_docs" in told
    index.update_ref_doc(*_documents({"a": 2}))
    assert _texts(store) == sorted([_text("a", 2), _text("b", 0), _text("c", 0)])
    assert len(caplog.messages) == 1


def test_simple_vector_store_is_opened_as_before(model):
    with pytest.raises(ValueError, match="does not store text"):
        VectorStoreIndex.from_vector_store(SimpleVectorStore(), embed_model=model)
