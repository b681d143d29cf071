"""LlamaIndex's own pair persist and load_index_from_storage, with our store."""

from __future__ import annotations

import subprocess
import sys

import fsspec
import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import IndexNode, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore

from reasonembed_rag.errors import InputError, SpecMismatchError, StoreError

DOCUMENTS = [Document(text=f"about {name}", doc_id=name, metadata={"n": name}) for name in ("cats", "dogs", "boats")]
NODES = [TextNode(id_="text", text="about whales"), IndexNode(id_="table", text="about rivers", index_id="t")]


@pytest.fixture
def model(words):
    return ReasonEmbedEmbedding(model_name="words")


@pytest.fixture(params=["memory", "path", "storage"])
def index(request, tmp_path, model):
    """An index in memory, in a folder of its own, and in the folder that persist writes to."""
    paths = {"memory": None, "path": "mine", "storage": "storage/default__vector_store.json"}
    path = None if request.param == "memory" else str(tmp_path / paths[request.param])
    store = ReasonEmbedVectorStore.for_model(model, path)
    context = StorageContext.from_defaults(vector_store=store)
    made = VectorStoreIndex.from_documents(DOCUMENTS, storage_context=context, embed_model=model)
    made.insert_nodes(NODES)
    yield made
    store.client.close()


def _load(folder, model):
    return load_index_from_storage(StorageContext.from_defaults(persist_dir=str(folder)), embed_model=model)


def _found(index):
    found = index.as_retriever(similarity_top_k=9).retrieve("about dogs")
    return [(n.node_id, type(n.node), n.text, n.metadata, round(n.score, 5)) for n in found]


def test_what_was_persisted_is_loaded(index, model, tmp_path):
    index.storage_context.persist(tmp_path / "storage")
    loaded = _load(tmp_path / "storage", model)
    assert type(loaded.vector_store) is ReasonEmbedVectorStore
    assert _found(loaded) == _found(index)
    assert len(_found(loaded)) == 5


def test_a_later_persist_replaces_an_earlier_one(index, model, tmp_path):
    index.storage_context.persist(tmp_path / "storage")
    index.delete_ref_doc("dogs")
    index.storage_context.persist(tmp_path / "storage")
    index.storage_context.persist(tmp_path / "other")
    assert _found(_load(tmp_path / "storage", model)) == _found(_load(tmp_path / "other", model)) == _found(index)


def test_a_loaded_index_grows_in_its_folder_and_is_persisted_again(index, model, tmp_path):
    index.storage_context.persist(tmp_path / "storage")
    index.vector_store.client.close()
    loaded = _load(tmp_path / "storage", model)
    loaded.insert(Document(text="about ships", doc_id="ships"))
    loaded.storage_context.persist(tmp_path / "storage")
    assert _found(_load(tmp_path / "storage", model)) == _found(loaded)
    assert len(_found(loaded)) == 6


def test_a_store_may_be_given_beside_the_folder(index, model, tmp_path):
    index.storage_context.persist(tmp_path / "storage")
    store = ReasonEmbedVectorStore.from_persist_dir(str(tmp_path / "storage"))
    context = StorageContext.from_defaults(vector_store=store, persist_dir=str(tmp_path / "storage"))
    assert _found(load_index_from_storage(context, embed_model=model)) == _found(index)


def test_every_namespace_is_loaded(model, tmp_path):
    stores = {name: ReasonEmbedVectorStore() for name in ("default", "notes", "image")}
    for name, store in stores.items():
        store.add([TextNode(id_=name, text=name, embedding=[1.0, 0.0])])
    StorageContext.from_defaults(vector_stores=stores, image_store=stores["image"]).persist(tmp_path / "storage")
    loaded = StorageContext.from_defaults(persist_dir=str(tmp_path / "storage")).vector_stores
    assert {name: [node.node_id for node in store.get_nodes()] for name, store in loaded.items()} == {
        name: [name] for name in stores
    }
    notes = ReasonEmbedVectorStore.from_persist_dir(str(tmp_path / "storage"), namespace="notes")
    assert [node.node_id for node in notes.get_nodes()] == ["notes"]


def test_a_process_that_imports_the_embedding_only_loads_our_store(index, tmp_path):
    index.storage_context.persist(tmp_path / "storage")
    code = (
        "from llama_index.core import StorageContext\n"
        "from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding\n"
        f"store = StorageContext.from_defaults(persist_dir={str(tmp_path / 'storage')!r}).vector_store\n"
        "print(type(store).__name__, len(store.client))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ReasonEmbedVectorStore", "5"]


def test_simple_vector_store_reads_its_own_files_as_before(model, tmp_path):
    context = StorageContext.from_defaults()
    index = VectorStoreIndex.from_documents(DOCUMENTS, storage_context=context, embed_model=model)
    context.persist(tmp_path / "storage")
    loaded = _load(tmp_path / "storage", model)
    assert type(loaded.vector_store) is SimpleVectorStore
    assert _found(loaded) == _found(index)
    (tmp_path / "storage" / "folder__vector_store.json").mkdir()
    with pytest.raises(IsADirectoryError):
        SimpleVectorStore.from_persist_dir(str(tmp_path / "storage"), namespace="folder")


def test_the_queries_of_another_model_are_refused(index, tmp_path, make_embedder):
    from reasonembed_rag.encoder import share_embedder

    share_embedder("others", make_embedder(model="others"))
    index.storage_context.persist(tmp_path / "storage")
    loaded = _load(tmp_path / "storage", ReasonEmbedEmbedding(model_name="others"))
    with pytest.raises(SpecMismatchError, match=r"'words'.*'others'"):
        loaded.as_retriever().retrieve("about dogs")


async def test_the_queries_of_another_model_are_refused_in_async_calls(index, make_embedder):
    from reasonembed_rag.encoder import share_embedder

    share_embedder("others", make_embedder(model="others"))
    other = ReasonEmbedEmbedding(model_name="others")
    retriever = VectorStoreIndex.from_vector_store(index.vector_store, embed_model=other).as_retriever()
    with pytest.raises(SpecMismatchError):
        await retriever.aretrieve("about dogs")


def test_a_file_system_that_is_not_local_is_refused(index, tmp_path):
    memory = fsspec.filesystem("memory")
    with pytest.raises(InputError, match=r"\bfs=MemoryFileSystem\b"):
        index.storage_context.persist("/storage", fs=memory)
    with pytest.raises(InputError, match=r"\bfs=MemoryFileSystem\b"):
        ReasonEmbedVectorStore.from_persist_dir("/storage", fs=memory)
    local = fsspec.filesystem("file")
    index.storage_context.persist(str(tmp_path / "storage"), fs=local)
    loaded = StorageContext.from_defaults(persist_dir=str(tmp_path / "storage"), fs=local)
    assert loaded.vector_store.query(VectorStoreQuery(query_embedding=[1.0] * 32, similarity_top_k=9)).ids


def test_the_file_of_another_store_is_not_overwritten(index, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "default__vector_store.json").write_text("{}")
    with pytest.raises(StoreError, match=r"default__vector_store\.json"):
        index.storage_context.persist(tmp_path / "other")


def test_a_cell_of_a_notebook_may_run_again(model, tmp_path):
    """The objects of the first run are still there while the second makes its own."""
    kept = []
    for _ in range(2):
        store = ReasonEmbedVectorStore.for_model(model, str(tmp_path / "nodes"))
        context = StorageContext.from_defaults(vector_store=store)
        kept.append(VectorStoreIndex.from_documents(DOCUMENTS, storage_context=context, embed_model=model))
        kept[-1].insert(Document(text="about ships", doc_id="ships"))
    assert _found(kept[0]) == _found(kept[1])
    assert len(_found(kept[0])) == 4
    kept[0].vector_store.client.close()
    assert len(ReasonEmbedVectorStore(path=str(tmp_path / "nodes")).get_nodes()) == 4


def test_two_objects_of_an_empty_folder_both_write(model, tmp_path):
    stores = [ReasonEmbedVectorStore.for_model(model, str(tmp_path / "nodes")) for _ in range(2)]
    for name, store in zip("ab", stores, strict=True):
        store.add([TextNode(id_=name, text=name, embedding=[1.0] * 32)])
    assert [node.node_id for node in stores[0].get_nodes()] == ["a", "b"]


def test_a_folder_in_the_place_of_another_is_opened_anew(model, tmp_path):
    first = ReasonEmbedVectorStore(path=str(tmp_path / "nodes"))
    first.add([TextNode(id_="old", text="old", embedding=[1.0])])
    (tmp_path / "nodes").rename(tmp_path / "aside")
    second = ReasonEmbedVectorStore(path=str(tmp_path / "nodes"))
    second.add([TextNode(id_="new", text="new", embedding=[1.0])])
    assert [node.node_id for node in second.get_nodes()] == ["new"]
