"""Rerankers and query expanders in LangChain's own chains."""

from __future__ import annotations

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from langchain_reasonembed import (
    ReasonEmbedEmbeddings,
    ReasonEmbedQueryExpander,
    ReasonEmbedReranker,
    ReasonEmbedVectorStore,
)
from reasonembed_rag import Hit, Hits
from reasonembed_rag.pipeline import ReplayedExpander

TEXTS = ["cells divide by mitosis", "tides follow the moon", "cells"]


class Shortest:
    """Rank short documents first."""

    def rerank(self, queries, hits, *, k=None):
        assert [one.documents is not None for one in hits]
        return [
            Hits.ranked((Hit(hit.id, -len(hit.document.content), hit.document) for hit in one), k=k) for one in hits
        ]


class Fixed(BaseRetriever):
    """Find the same documents, two of them without an id."""

    def _get_relevant_documents(self, query, *, run_manager):
        return [
            Document(page_content=text, metadata={"reasonembed_score": 0.5, "n": n}) for n, text in enumerate(TEXTS)
        ]


def test_a_reranker_reorders_cuts_and_keeps_metadata_and_both_scores():
    chain = ContextualCompressionRetriever(
        base_compressor=ReasonEmbedReranker(reranker=Shortest(), k=2), base_retriever=Fixed()
    )
    found = chain.invoke("what?")
    assert [document.page_content for document in found] == ["cells", "tides follow the moon"]
    assert found[0].metadata == {"reasonembed_score": 0.5, "n": 2, "reasonembed_rerank_score": -5.0}
    assert "reasonembed_rerank_score" not in Fixed().invoke("what?")[0].metadata


async def test_it_is_awaited_as_it_is_called():
    reranker = ReasonEmbedReranker(reranker=Shortest())
    documents = Fixed().invoke("what?")
    assert await reranker.acompress_documents(documents, "what?") == reranker.compress_documents(documents, "what?")
    assert reranker.compress_documents([], "what?") == []


def test_an_expander_is_a_runnable_before_a_retriever(words, tmp_path):
    del words
    store = ReasonEmbedVectorStore.from_texts(TEXTS, ReasonEmbedEmbeddings(model="words"), path=tmp_path / "index")
    said = ReplayedExpander({"what pulls the sea?": ["tides and the moon"]})
    chain = ReasonEmbedQueryExpander(expander=said, combine="replace") | store.as_retriever(search_kwargs={"k": 1})
    assert chain.invoke("what pulls the sea?")[0].page_content == "tides follow the moon"
    appended = ReasonEmbedQueryExpander(expander=said)
    assert appended.invoke("what pulls the sea?") == "what pulls the sea?\n\ntides and the moon"
    assert appended.batch(["another question"]) == ["another question"]


def test_a_reranker_that_is_none_is_refused():
    with pytest.raises(ValueError, match="Reranker"):
        ReasonEmbedReranker(reranker=object())
