"""LangChain's own retrievers, caches and indexing work over ours, as its documentation writes them."""

from __future__ import annotations

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.indexes import SQLRecordManager
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MultiQueryRetriever,
    MultiVectorRetriever,
    ParentDocumentRetriever,
)
from langchain_classic.retrievers.multi_vector import SearchType
from langchain_classic.storage import LocalFileStore
from langchain_core.documents import Document
from langchain_core.example_selectors import SemanticSimilarityExampleSelector
from langchain_core.indexing import index
from langchain_core.language_models import FakeListChatModel
from langchain_core.stores import InMemoryStore
from langchain_text_splitters import RecursiveCharacterTextSplitter

from langchain_reasonembed import (
    ReasonEmbedCompressor,
    ReasonEmbedEmbeddings,
    ReasonEmbedRetriever,
    ReasonEmbedVectorStore,
)
from reasonembed_rag.pipeline import NearDuplicateFilter

DOCUMENTS = [
    Document(id="bio", page_content="cells divide by mitosis " * 20 + "spindle", metadata={"source": "bio"}),
    Document(id="sea", page_content="tides follow the moon " * 20 + "neap", metadata={"source": "sea"}),
]


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def embeddings():
    return ReasonEmbedEmbeddings(model="words")


@pytest.fixture
def store(embeddings, tmp_path):
    return ReasonEmbedVectorStore.from_documents(DOCUMENTS, embeddings, path=tmp_path / "index")


@pytest.fixture
def retriever(store):
    return ReasonEmbedRetriever(index=str(store.store.path))


def sources(documents):
    return [document.metadata["source"] for document in documents]


async def test_parents_are_found_by_their_parts(embeddings):
    found_by = ParentDocumentRetriever(
        vectorstore=ReasonEmbedVectorStore(embeddings),
        docstore=InMemoryStore(),
        child_splitter=RecursiveCharacterTextSplitter(chunk_size=40, chunk_overlap=0),
        search_kwargs={"k": 1},
    )
    found_by.add_documents(DOCUMENTS)
    assert found_by.invoke("neap") == await found_by.ainvoke("neap") == DOCUMENTS[1:]


@pytest.mark.parametrize("kind", list(SearchType))
def test_documents_are_found_by_their_summaries(embeddings, kind):
    found_by = MultiVectorRetriever(
        vectorstore=ReasonEmbedVectorStore(embeddings), docstore=InMemoryStore(), search_type=kind
    )
    found_by.search_kwargs = {"k": 1} | (
        {"score_threshold": 0.5} if kind == SearchType.similarity_score_threshold else {}
    )
    found_by.vectorstore.add_texts(["spindle", "neap"], [{"doc_id": "bio"}, {"doc_id": "sea"}])
    found_by.docstore.mset([(document.id, document) for document in DOCUMENTS])
    assert found_by.invoke("neap") == DOCUMENTS[1:]


def test_an_ensemble_joins_a_store_and_a_saved_index(store, retriever):
    for options in ({}, {"id_key": "source"}):
        joined = EnsembleRetriever(retrievers=[store.as_retriever(), retriever], weights=[0.5, 0.5], **options)
        assert sorted(sources(joined.invoke("moon"))) == ["bio", "sea"]


def test_several_queries_find_a_document_once(store, retriever):
    model = FakeListChatModel(responses=["moon?\ntides?\nspindle?"])
    for one in (store.as_retriever(), retriever.model_copy(update={"with_score": False})):
        asked = MultiQueryRetriever.from_llm(retriever=one, llm=model)
        assert sorted(sources(asked.invoke("moon"))) == ["bio", "sea"]


def test_a_compressor_drops_what_repeats(retriever, words):
    store = ReasonEmbedVectorStore.load_local(retriever.index, ReasonEmbedEmbeddings(model="words"))
    store.add_documents([DOCUMENTS[1].model_copy(update={"id": "again"})])
    kept = ContextualCompressionRetriever(
        base_compressor=ReasonEmbedCompressor(filters=(NearDuplicateFilter(embed=words.encode_documents),)),
        base_retriever=retriever,
    )
    assert len(retriever.invoke("moon")) == 3
    assert len(kept.invoke("moon")) == 2


def test_the_record_manager_keeps_a_folder_in_step(store):
    manager = SQLRecordManager("reasonembed", db_url="sqlite:///:memory:")
    manager.create_schema()
    store.delete()
    for cleanup, documents, counts in (
        ("full", DOCUMENTS, (2, 0, 0)),
        ("incremental", DOCUMENTS, (0, 2, 0)),
        ("scoped_full", DOCUMENTS[:1], (0, 1, 0)),
        ("full", DOCUMENTS[:1], (0, 1, 1)),
        ("full", [], (0, 0, 1)),
    ):
        told = index(documents, manager, store, cleanup=cleanup, source_id_key="source", key_encoder="sha256")
        assert (told["num_added"], told["num_skipped"], told["num_deleted"]) == counts
    assert len(store.store) == 0


async def test_cached_embeddings_give_the_same_vectors_and_store(embeddings, words, tmp_path):
    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        LocalFileStore(tmp_path / "documents"),
        namespace="words",
        key_encoder="sha256",
        query_embedding_cache=LocalFileStore(tmp_path / "queries"),  # True would take a document's vector for a query's
    )
    texts = ["moon", "spindle"]
    assert cached.embed_documents(texts) == cached.embed_documents(texts) == embeddings.embed_documents(texts)
    assert cached.embed_query("moon") == embeddings.embed_query("moon")
    store = await ReasonEmbedVectorStore.afrom_texts(texts, cached, ids=["m", "s"])
    assert [document.id for document in await store.asimilarity_search("moon", k=1)] == ["m"]
    asked = len(words.calls)
    ReasonEmbedVectorStore.from_texts(texts, cached)
    assert len(words.calls) == asked


def test_examples_are_selected_by_similarity(embeddings):
    examples = [{"input": "moon", "output": "sea"}, {"input": "spindle", "output": "cell"}]
    selector = SemanticSimilarityExampleSelector.from_examples(
        examples, embeddings, ReasonEmbedVectorStore, k=1, input_keys=["input"]
    )
    assert selector.select_examples({"input": "moon"}) == examples[:1]
    selector.add_example({"input": "neap", "output": "tide"})
    assert selector.select_examples({"input": "neap"}) == [{"input": "neap", "output": "tide"}]
