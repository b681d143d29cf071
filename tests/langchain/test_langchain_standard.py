"""LangChain's own test suites."""

from __future__ import annotations

import numpy as np
import pytest
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag import Document
from reasonembed_stores import FaissStore


@pytest.fixture(autouse=True)
def _words(words):
    return words


class TestEmbeddingsUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self):
        return ReasonEmbedEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": "words"}


class TestEmbeddingsIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self):
        return ReasonEmbedEmbeddings

    @property
    def embedding_model_params(self):
        return {"model": "words"}


class TestRetrievers(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _index(self, tmp_path, words):
        self.path = str(tmp_path / "index")
        documents = [Document(f"d{n}", f"document number {n}", {"n": n}) for n in range(6)]
        with FaissStore.create(self.path, spec=words.spec) as store:
            store.upsert(documents, words.encode_documents([document.content for document in documents]))

    @property
    def retriever_constructor(self):
        return ReasonEmbedRetriever

    @property
    def retriever_constructor_params(self):
        return {"index": self.path}

    @property
    def retriever_query_example(self):
        return "which number?"


class TestVectorStoreInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        return ReasonEmbedVectorStore(self.get_embeddings())


class TestVectorStoreInFolder(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path):
        with FaissStore.create(tmp_path / "index") as store:
            yield ReasonEmbedVectorStore(self.get_embeddings(), store)


def test_vectors_are_the_models_own(words):
    embeddings = ReasonEmbedEmbeddings(model="words", task="biology")
    texts = ["def f():\n    return 1", "def f(): return 1"]
    np.testing.assert_array_equal(embeddings.embed_documents(texts), words.encode_documents(texts))
    np.testing.assert_array_equal(embeddings.encode_documents("why?"), words.encode_documents(["why?"])[0])
    np.testing.assert_array_equal(embeddings.encode_queries("why?"), embeddings.embed_query("why?"))
    np.testing.assert_array_equal(embeddings.embed_query("why?"), words.encode_queries(["why?"], task="biology")[0])
