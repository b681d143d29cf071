"""The chain answers from memories as the core does, streams, and sends texts to models that read no memories."""

from __future__ import annotations

import logging

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage

from langchain_reasonembed import LatentChatModel, ReasonEmbedRetriever, memory_chain
from reasonembed_rag.documents import Document
from reasonembed_rag.encoder import share_embedder
from reasonembed_rag.errors import InputError
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
    return ReasonEmbedRetriever(index=str(tmp_path / "docs.index"), k=2)


def test_the_chain_answers_from_stored_memories_and_streams(retriever, latent_encoder, tmp_path):
    store = MemoryStore.open(tmp_path / "memories", latent_encoder)
    store.follow(DOCUMENTS, latent_encoder)
    chain = memory_chain(retriever, latent_encoder, store, settings=SHORT)
    found = chain.invoke("why?")
    texts = [one.page_content for one in found["context"]]
    expected = latent_encoder.generate("why?", memories=latent_encoder.compress(texts), settings=SHORT)
    assert found["answer"] == expected
    assert len(texts) == 2
    pieces = [part["answer"] for part in chain.stream({"question": "why?"}) if "answer" in part]
    assert "".join(pieces) == expected
    assert len(pieces) > 1


async def test_the_chain_and_the_chat_model_are_async(retriever, latent_encoder):
    chain = memory_chain(retriever, LatentChatModel(encoder=latent_encoder), settings=SHORT)
    expected = chain.invoke("why?")["answer"]
    assert (await chain.ainvoke("why?"))["answer"] == expected
    assert "".join([part["answer"] async for part in chain.astream("why?") if "answer" in part]) == expected
    model = LatentChatModel(encoder=latent_encoder, settings=SHORT)
    assert (await model.ainvoke("why?")).text == model.invoke("why?").text


def test_another_chat_model_is_sent_the_texts_and_that_is_said_once(retriever, caplog):
    prompts = []

    class Listening(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            prompts.append(messages[0].content)
            return super()._call(messages, *args, **kwargs)

    with caplog.at_level(logging.WARNING):
        chain = memory_chain(retriever, Listening(responses=["because"]))
        first, second = chain.invoke("why?"), chain.invoke("why?")
    assert first["answer"] == second["answer"] == "because"
    assert all(one.page_content in prompts[0] for one in first["context"])
    assert caplog.text.count("texts are sent") == 1


def test_the_chat_model_is_the_backbone_behind_its_template_and_memories(latent_encoder):
    model = LatentChatModel(encoder=latent_encoder, settings=SHORT)
    messages = [SystemMessage("Be brief."), HumanMessage("why?")]
    prompt = "system: Be brief.\nuser: why?\nassistant:"
    expected = "".join(latent_encoder.complete(prompt, settings=SHORT))
    assert model.invoke(messages).text == expected
    assert "".join(str(one.text) for one in model.stream(messages)) == expected
    memories = latent_encoder.compress(["the lazy dog"])
    behind = "".join(latent_encoder.complete(prompt, memories=memories, settings=SHORT))
    assert model.bind(memories=memories).invoke(messages).text == behind
    stop = expected[3:5]
    assert model.invoke(messages, stop=[stop]).text == expected[: expected.index(stop)]


def test_bad_input_is_refused(retriever, latent_encoder):
    for wrong in ("", {"query": "why?"}, {"question": 3}):
        with pytest.raises(InputError, match="want a question"):
            memory_chain(retriever, latent_encoder).invoke(wrong)
    model = LatentChatModel(encoder=latent_encoder)
    with pytest.raises(InputError, match="tool"):
        model.invoke([ToolMessage("text", tool_call_id="1")])
    with pytest.raises(InputError, match="temprature"):
        model.invoke("why?", temprature=1)


async def test_an_empty_answer_is_an_empty_text(retriever, latent_encoder):
    probe = latent_encoder.generate("why?", memories=latent_encoder.compress(["the lazy dog"]), settings=SHORT)
    assert probe
    found = memory_chain(retriever, latent_encoder, settings=SHORT).invoke("why?")
    silent = GenerationSettings(max_tokens=8, stop=(found["answer"][0],))
    chain = memory_chain(retriever, latent_encoder, settings=silent)
    assert chain.invoke("why?")["answer"] == (await chain.ainvoke("why?"))["answer"] == ""
    assert [part["answer"] for part in chain.stream("why?") if "answer" in part] == [""]
    spoken = LatentChatModel(encoder=latent_encoder, settings=SHORT).invoke("why?").text
    model = LatentChatModel(encoder=latent_encoder, settings=GenerationSettings(max_tokens=8, stop=(spoken[0],)))
    assert model.invoke("why?").text == "".join(str(one.text) for one in model.stream("why?")) == ""


def test_a_chain_around_a_chat_model_has_its_settings(retriever, latent_encoder):
    three = GenerationSettings(max_tokens=3)
    expected = memory_chain(retriever, latent_encoder, settings=three).invoke("why?")["answer"]
    model = LatentChatModel(encoder=latent_encoder, settings=three)
    assert memory_chain(retriever, model).invoke("why?")["answer"] == expected
    longer = memory_chain(retriever, model, settings=SHORT).invoke("why?")["answer"]
    assert longer == memory_chain(retriever, latent_encoder, settings=SHORT).invoke("why?")["answer"] != expected
