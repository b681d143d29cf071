"""Metadata through LangChain: a user's fields stay, and dates and numpy scalars are kept."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever, TimeWeightedVectorStoreRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from langchain_reasonembed import (
    ReasonEmbedCompressor,
    ReasonEmbedEmbeddings,
    ReasonEmbedRetriever,
    ReasonEmbedVectorStore,
    as_retriever,
)
from reasonembed_rag import Document as StoredDocument
from reasonembed_rag.errors import InputError

FIELDS = ["score", "reasonembed", "id", "path", "heading", "relevance_score", "content", "page_content", "source"]


@pytest.fixture(autouse=True)
def _words(words):
    return words


@pytest.fixture
def store():
    return ReasonEmbedVectorStore(DeterministicFakeEmbedding(size=8))


@pytest.mark.parametrize("field", FIELDS)
async def test_a_users_field_of_any_name_stays(tmp_path, field):
    embeddings, path = ReasonEmbedEmbeddings(model="words"), tmp_path / "index"
    with ReasonEmbedVectorStore.from_texts(["one"], embeddings, [{field: 421}], ids=["a"], path=path).store as made:
        assert len(made) == 1
    retriever = ReasonEmbedRetriever(index=str(path))
    compressed = ContextualCompressionRetriever(
        base_compressor=ReasonEmbedCompressor(filters=()), base_retriever=retriever
    )
    for (found,) in (retriever.invoke("one"), await retriever.ainvoke("one"), compressed.invoke("one")):
        assert (found.id, found.page_content, found.metadata[field]) == ("a", "one", 421)
        assert -1 <= found.metadata["reasonembed_score"] <= 1
        assert found.metadata["score"] == (421 if field == "score" else found.metadata["reasonembed_score"])
    again = ReasonEmbedVectorStore.from_documents(retriever.invoke("one"), embeddings)
    assert again.similarity_search("one")[0].metadata[field] == 421


def test_evaluation_takes_our_score_and_not_the_users(tmp_path):
    texts = ["one", "one two", "three"]
    metadatas = [{"score": 9 - n} for n in range(3)]
    path = tmp_path / "index"
    made = ReasonEmbedVectorStore.from_texts(
        texts, ReasonEmbedEmbeddings(model="words"), metadatas, ids=["a", "b", "c"], path=path
    )
    scores = [score for _, score in made.similarity_search_with_score("one", k=3)]
    made.store.close()
    documents = [StoredDocument(name, text) for name, text in zip("abc", texts, strict=True)]
    (hits,) = as_retriever(ReasonEmbedRetriever(index=str(path)), documents).search(["one"], k=3)
    assert hits.scores.tolist() == scores


def test_dates_and_numpy_scalars_come_back_as_text_and_numbers(store):
    moment = datetime(2024, 1, 2, 3, 4, tzinfo=UTC)
    document = Document(id="d", page_content="x", metadata={"created": moment, "n": np.int64(3), "flag": np.True_})
    store.add_documents([document])
    store.add_texts(["y"], [{"created": moment + timedelta(days=1)}], ids=["e"])
    wanted = {"created": "2024-01-02T03:04:00+00:00", "n": 3, "flag": True}
    assert store.get_by_ids(["d"])[0].metadata == wanted
    assert document.metadata["created"] is moment
    for chosen in ({"created": moment}, {"n": np.int8(3)}, {"created": {"$lt": moment + timedelta(hours=1)}}):
        assert [found.id for found in store.similarity_search("x", filter=chosen)] == ["d"]


def test_what_cannot_be_kept_is_refused_by_document_and_field(store):
    for add in (
        lambda metadata: store.add_texts(["x"], [metadata], ids=["d1"]),
        lambda metadata: store.add_documents([Document(id="d1", page_content="x", metadata=metadata)]),
        lambda metadata: store.add_embeddings(["x"], np.ones((1, 8)), [metadata], ids=["d1"]),
        lambda metadata: asyncio.run(store.aadd_texts(["x"], [metadata], ids=["d1"])),
    ):
        with pytest.raises(InputError, match=r"'created' of 'd1' is bytes"):
            add({"created": b"2024"})


async def test_memories_weighted_by_time_are_found(store):
    retriever = TimeWeightedVectorStoreRetriever(vectorstore=store, decay_rate=0.99, k=1)
    yesterday = datetime.now() - timedelta(days=1)  # noqa: DTZ005 - as the retriever's own
    retriever.add_documents([Document(page_content="hello old", metadata={"last_accessed_at": yesterday})])
    await retriever.aadd_documents([Document(page_content="hello new")])
    assert [found.page_content for found in retriever.invoke("hello old")] == ["hello new"]
    assert [found.page_content for found in await retriever.ainvoke("hello old")] == ["hello new"]
    patient = TimeWeightedVectorStoreRetriever(vectorstore=store, decay_rate=1e-9, k=1)
    patient.memory_stream = retriever.memory_stream
    assert [found.page_content for found in patient.invoke("hello old")] == ["hello old"]
    retriever.add_documents([Document(page_content="third")], current_time=datetime.now())  # noqa: DTZ005
    assert len(store.store) == 3


async def test_what_cannot_be_kept_is_refused_before_anything_is_embedded(words):
    store = ReasonEmbedVectorStore(ReasonEmbedEmbeddings(model="words"))
    for texts, metadatas, ids in (
        (["a", "b", "c"], [{}, {}, {"n": b""}], None),
        (["a", "b", "c"], None, ["1", "2", "1"]),
        (["a", "b", "\ud800"], None, None),
    ):
        with pytest.raises(InputError):
            store.add_texts(texts, metadatas, ids=ids, batch_size=2)
        with pytest.raises(InputError):
            await store.aadd_texts(texts, metadatas, ids=ids, batch_size=2)
    assert words.calls == []
