"""The query engine answers from memories as the core does, streams, and sends texts to LLMs that read no memories."""

from __future__ import annotations

import logging

import pytest
from llama_index.core.llms import MockLLM
from llama_index.retrievers.reasonembed import MemoryQueryEngine, ReasonEmbedRetriever

from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.memory import GenerationSettings, MemoryStore
from reasonembed_stores import FaissStore

DOCUMENTS = [Document("a", "the quick brown fox"), Document("b", "cells divide"), Document("c", "the lazy dog")]
SHORT = GenerationSettings(max_tokens=8)


@pytest.fixture
def retriever(latent_encoder, tmp_path):
    """The index of the latent model's own vectors."""
    share_embedder(latent_encoder.spec.model, latent_encoder)
    store = FaissStore.create(tmp_path / "docs.index", spec=latent_encoder.spec)
    store.upsert(DOCUMENTS, latent_encoder.encode_documents([one.content for one in DOCUMENTS]))
    store.close()
    return ReasonEmbedRetriever(str(tmp_path / "docs.index"), k=2)


async def test_the_engine_answers_from_stored_memories_and_streams(retriever, latent_encoder, tmp_path, caplog):
    store = MemoryStore.open(tmp_path / "memories", latent_encoder)
    store.follow(DOCUMENTS, latent_encoder)
    with caplog.at_level(logging.WARNING):
        engine = MemoryQueryEngine(retriever, latent_encoder, store, settings=SHORT)
        response = engine.query("why?")
    texts = [one.node.get_content() for one in response.source_nodes]
    expected = latent_encoder.generate("why?", memories=latent_encoder.compress(texts), settings=SHORT)
    assert str(response) == expected
    assert len(texts) == 2
    assert "no memory" not in caplog.text
    assert str(await engine.aquery("why?")) == expected
    streaming = MemoryQueryEngine(retriever, latent_encoder, store, settings=SHORT, streaming=True)
    assert "".join(streaming.query("why?").response_gen) == expected
    later = await streaming.aquery("why?")
    assert "".join([piece async for piece in later.async_response_gen()]) == expected


async def test_another_llm_is_sent_the_texts_and_that_is_said_once(retriever, caplog):
    with caplog.at_level(logging.WARNING):
        engine = MemoryQueryEngine(retriever, MockLLM())
        response = engine.query("why?")
    assert all(one.node.get_content() in str(response) for one in response.source_nodes)
    assert str(await engine.aquery("why?")) == str(response)
    assert caplog.text.count("texts are sent") == 1
