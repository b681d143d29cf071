"""Both frameworks pass on where a hit comes from, through retrievers and vector stores."""

from __future__ import annotations

import pytest
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaIndexRetriever
from llama_index.vector_stores.reasonembed import ReasonEmbedVectorStore as LlamaIndexStore

from langchain_reasonembed import ReasonEmbedEmbeddings
from langchain_reasonembed import ReasonEmbedRetriever as LangChainRetriever
from langchain_reasonembed import ReasonEmbedVectorStore as LangChainStore
from reasonembed_rag import Document
from reasonembed_stores import FaissStore, citation

DOCUMENTS = [
    Document("docs/a.md#1", "one", {"path": "docs/a.md", "heading": "Leave > Travel", "line": 12}),
    Document("report.pdf#4", "two", {"path": "report.pdf", "heading": "", "page": 3}),
    Document("row", "three", {"path": "mine", "line": "L1", "reasonembed_path": "rows.csv", "reasonembed_line": 4}),
]
CITATIONS = {"docs/a.md:12, Leave > Travel", "report.pdf, page 3", "rows.csv:4"}


@pytest.fixture
def index(tmp_path, words) -> str:
    with FaissStore.create(tmp_path / "index", spec=words.spec) as store:
        store.upsert(DOCUMENTS, words.encode_documents([document.content for document in DOCUMENTS]))
    return str(tmp_path / "index")


def test_retrievers_return_what_citations_are_made_of(index):
    for retrieve in (LangChainRetriever(index=index, k=3).invoke, LlamaIndexRetriever(index, k=3).retrieve):
        assert {citation(hit) for hit in retrieve("two")} == CITATIONS


def test_vector_stores_return_what_citations_are_made_of_and_give_their_documents(index, words):
    with FaissStore.open(index) as store:
        langchain = LangChainStore(ReasonEmbedEmbeddings(model="words"), store)
        assert {citation(hit) for hit in langchain.similarity_search("two", k=3)} == CITATIONS
        assert list(langchain.store.documents()) == DOCUMENTS
    llama = LlamaIndexStore.from_persist_path(index)
    (query,) = words.encode_queries(["two"]).tolist()
    found = llama.query(VectorStoreQuery(query_embedding=query, similarity_top_k=3))
    assert {citation(node) for node in found.nodes} == CITATIONS
    assert list(llama.client.documents()) == DOCUMENTS
