"""LatentEncoder: an Embedder like any other, exact memories, answers from memories and from texts."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import shutil

import numpy as np
import pytest
import torch

from reasonembed_rag.backbone import EncoderSettings
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, SpecMismatchError
from reasonembed_rag.memory import GenerationSettings, LatentEncoder, LatentSettings, Memory, create_latent, load_latent
from reasonembed_rag.memory.generation import final_pieces
from reasonembed_rag.protocols import AsyncEmbedder
from reasonembed_rag.retrieval import DenseRetriever

DOCUMENTS = ["the quick brown fox", "jumps over the lazy dog " * 4, "def append(item): return item", "cells divide"]
SHORT = GenerationSettings(max_tokens=12)


def test_vectors_are_the_normalised_mean_latent_states_one_by_one_in_a_batch_and_async(encoder, latent_folder):
    assert isinstance(encoder, AsyncEmbedder)
    vectors = encoder.encode_documents(DOCUMENTS)
    model = load_latent(latent_folder, live=True).model
    tokens = encoder._tokenizer(DOCUMENTS, before="", after="", max_length=128)
    pooled = model(tokens.rows(np.arange(4))).pooled_BD.detach()
    expected = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose([encoder.encode_documents(one) for one in DOCUMENTS], vectors, atol=1e-5)
    np.testing.assert_allclose(asyncio.run(encoder.aencode_documents(DOCUMENTS)), vectors, atol=1e-5)
    np.testing.assert_allclose(
        asyncio.run(encoder.aencode_queries(["why?"], task="biology")),
        encoder.encode_queries(["why?"], task="biology"),
        atol=1e-5,
    )


def test_an_instruction_changes_queries_and_a_retriever_takes_the_encoder(encoder):
    one, two = (encoder.encode_queries(["why?"], instruction=words) for words in ("find proofs", "find recipes"))
    assert not np.allclose(one, two, atol=1e-3)
    retriever = DenseRetriever(encoder, [Document(str(n), text) for n, text in enumerate(DOCUMENTS)])
    assert len(retriever.search(["fox"], k=2)[0].ids) == 2


def test_self_reasoning_puts_the_backbones_own_tokens_before_the_latents_of_queries_alone(encoder, latent_folder):
    reasoning = LatentEncoder.from_folder(latent_folder, reasoning_tokens=3)
    np.testing.assert_allclose(reasoning.encode_documents(DOCUMENTS), encoder.encode_documents(DOCUMENTS), atol=1e-6)
    found = reasoning.encode_queries(["why do cells divide?"])
    assert not np.allclose(found, encoder.encode_queries(["why do cells divide?"]), atol=1e-3)
    before, after = encoder.spec.query_affixes(None)
    ids = encoder._tokenizer(["why do cells divide?"], before=before, after=after, max_length=128).rows(np.arange(1))[0]
    model = load_latent(latent_folder).model
    with torch.no_grad():
        for _ in range(3):
            ids = np.append(ids, int(model.logits(model.plain([ids])[0][-1]).argmax()))
        expected = torch.nn.functional.normalize(model([ids]).pooled_BD, dim=-1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert reasoning.spec.space() == encoder.spec.space()
    assert reasoning.spec.digest() != encoder.spec.digest()


def test_memories_are_the_same_one_by_one_and_in_any_pack(encoder, latent_folder):
    memories = encoder.compress(DOCUMENTS)
    small = LatentEncoder.from_folder(latent_folder, token_budget=20).compress(DOCUMENTS)
    for text, one, packed in zip(DOCUMENTS, memories, small, strict=True):
        [alone] = encoder.compress([text])
        torch.testing.assert_close(alone.values_N2KkD, one.values_N2KkD, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(packed.values_N2KkD, one.values_N2KkD, atol=1e-5, rtol=1e-5)
        assert one.nbytes == encoder.memory_bytes == 2 * 2 * 2 * 16 * 4 * 4
    assert encoder.compress([]) == []


def test_a_long_text_is_read_in_chunks_and_said_so(encoder, caplog):
    long = "the lazy dog jumps over the quick brown fox " * 40
    with caplog.at_level(logging.WARNING):
        one, two = encoder.compress([long, "short"])
    assert "1 of 2 texts" in caplog.text
    assert one.nbytes == two.nbytes
    [changed] = encoder.compress([long + "and why do cells divide"])
    assert not torch.allclose(changed.values_N2KkD, one.values_N2KkD, atol=1e-3)
    torch.testing.assert_close(two.values_N2KkD, encoder.compress(["short"])[0].values_N2KkD, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="128"):
        encoder.update(two, long)


def test_an_answer_from_memories_is_that_of_the_model_behind_them_side_by_side(encoder, latent_folder):
    memories = encoder.compress(DOCUMENTS[:2])
    answer = encoder.generate("why?", memories=memories, settings=SHORT)
    model = load_latent(latent_folder).model
    joined = torch.cat([one.values_N2KkD for one in memories], dim=3)[None]
    ids = encoder._tokenizer.ids_alone(["\nQuestion: why?\nAnswer:"])[0]
    written = []
    with torch.no_grad():
        while len(written) < 12:
            every = np.asarray([*ids, *written])
            state = model.plain([every], past=model.placed(joined))[0][-1]
            token = int(model.logits(state).argmax())
            if token == 1:
                break
            written.append(token)
    assert answer == encoder._decoded(written)
    assert answer != encoder.generate("why?", memories=memories[::-1], settings=SHORT)


def test_text_answers_are_the_backbones_own_through_transformers(encoder, latent_folder):
    from transformers import AutoModelForCausalLM

    latent = load_latent(latent_folder)
    reference = AutoModelForCausalLM.from_pretrained(latent.backbone.model).eval()
    ids = encoder._tokenizer.ids_alone([f"{DOCUMENTS[0]}\n{DOCUMENTS[3]}\n\nQuestion: why?\nAnswer:"])[0]
    prompt = torch.from_numpy(ids.astype(np.int64))[None]
    expected = reference.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=1, pad_token_id=0)
    expected_ids = [token for token in expected[0, prompt.shape[1] :].tolist() if token != 1]
    found = encoder.generate("why?", texts=[DOCUMENTS[0], DOCUMENTS[3]], settings=SHORT)
    assert found == encoder._decoded(expected_ids)


def test_sampling_follows_its_seed_and_top_p_of_almost_nothing_is_greedy(encoder):
    def answer(**settings):
        return encoder.generate("why?", texts=DOCUMENTS[:1], settings=GenerationSettings(max_tokens=12, **settings))

    assert answer(temperature=1.0, seed=1) == answer(temperature=1.0, seed=1)
    assert len({answer(temperature=2.0, seed=seed) for seed in range(4)}) > 1
    assert answer(temperature=1.0, top_p=1e-9, seed=5) == answer()


def test_streams_join_to_the_answer_and_end_before_stop_strings(encoder):
    whole = encoder.generate("why?", memories=encoder.compress(DOCUMENTS), settings=SHORT)
    pieces = list(encoder.stream("why?", memories=encoder.compress(DOCUMENTS), settings=SHORT))
    assert "".join(pieces) == whole
    stop = whole[len(whole) // 2 :][:3]
    ended = encoder.generate(
        "why?", memories=encoder.compress(DOCUMENTS), settings=GenerationSettings(max_tokens=12, stop=(stop,))
    )
    assert ended == whole[: whole.index(stop)]


def test_pieces_hold_back_what_may_still_change():
    letters = dict(enumerate(["ab", "c", "S", "T", "x", "S", "TOP", "never"]))

    def decode(ids):
        return "".join(letters[one] for one in ids)

    assert list(final_pieces(iter(range(8)), decode, ("STOP",))) == ["ab", "c", "STx"]
    assert list(final_pieces(iter([0, 2]), decode, ("STOP",))) == ["ab", "S"]
    started = {0: "x<\ufffd", 1: "x<é>"}
    assert list(final_pieces(iter([0, 1]), lambda ids: started[len(ids) - 1], ("<é>",))) == ["x"]
    broken = {0: "a\ufffd", 1: "aé"}
    assert list(final_pieces(iter([0, 1]), lambda ids: broken[len(ids) - 1], ())) == ["a", "é"]


def test_updates_keep_the_size_and_depend_on_their_order(encoder):
    [memory] = encoder.compress([DOCUMENTS[0]])
    one = encoder.update(encoder.update(memory, "cells divide"), "the lazy dog")
    two = encoder.update(encoder.update(memory, "the lazy dog"), "cells divide")
    assert one.nbytes == two.nbytes == memory.nbytes
    assert not torch.allclose(one.values_N2KkD, two.values_N2KkD, atol=1e-3)
    assert isinstance(encoder.regenerate(one, settings=SHORT), str)


def test_bad_input_is_refused_before_work(encoder, latent_folder):
    [memory] = encoder.compress(["fox"])
    other = Memory(memory.values_N2KkD, "0" * 32)
    shorter = Memory(memory.values_N2KkD[:, :, :, :2], memory.fingerprint)
    for wrong in (other, shorter):
        with pytest.raises(SpecMismatchError, match=r"memories\[1\]"):
            encoder.stream("why?", memories=[memory, wrong])
    for settings in ({"question": "why?", "memories": []}, {"question": " ", "memories": [memory]}):
        with pytest.raises(InputError):
            encoder.stream(**settings)
    with pytest.raises(InputError, match="both"):
        encoder.stream("why?", memories=[memory], texts=["fox"])
    with pytest.raises(InputError, match="512 positions"):
        encoder.stream("why?", texts=["fox " * 600])
    with pytest.raises(InputError, match="reasoning_tokens"):
        LatentEncoder.from_folder(latent_folder, reasoning_tokens=-1)
    with pytest.raises(InputError, match=r"texts\[0\]"):
        encoder.compress([None])
    with pytest.raises(InputError, match="from_folder"):
        LatentEncoder.from_pretrained(str(latent_folder))
    with pytest.raises(InputError, match="pickled"):
        pickle.dumps(encoder)
    for name, value in (("max_tokens", 0), ("temperature", -1), ("top_p", 0), ("stop", "text"), ("stop", ("",))):
        with pytest.raises(InputError, match=name):
            GenerationSettings(**{name: value})


def test_tokens_whose_role_decides_their_vector_are_refused(encoder, latent_folder):
    reasoning = LatentEncoder.from_folder(latent_folder, reasoning_tokens=3)
    tokens = reasoning.tokenize(["why do cells divide?"], role="query")
    with pytest.raises(InputError, match="reasoning_tokens=0"):
        asyncio.run(reasoning.aencode_tokens(tokens))
    found = asyncio.run(encoder.aencode_tokens(tokens))
    np.testing.assert_allclose(found, encoder.encode_queries(["why do cells divide?"]), atol=1e-5)


def test_texts_leave_positions_for_latents_reasoning_and_an_earlier_memory(encoder, latent_folder, tiny_model, caplog):
    backbone = str(tiny_model("qwen3", tie_word_embeddings=True))
    with caplog.at_level(logging.WARNING):
        create_latent(EncoderSettings(model=backbone), LatentSettings(latents=6, rank=1), live=False)
        LatentEncoder.from_folder(latent_folder)
        assert not caplog.text  # nobody chose the whole window
        whole = EncoderSettings(model=backbone, max_document_length=512)
        made = create_latent(whole, LatentSettings(latents=6, rank=1), live=False)
    assert (made.spec.max_query_length, made.spec.max_document_length) == (512 - 6, 512 - 12)
    assert "506 and documents of at most 500 tokens, not 512 and 512" in caplog.text
    assert encoder.spec.max_document_length == 128
    assert LatentEncoder.from_folder(latent_folder, reasoning_tokens=400).spec.max_query_length == 512 - 4 - 400
    with pytest.raises(InputError, match="512 positions"):
        LatentEncoder.from_folder(latent_folder, reasoning_tokens=508)
    with pytest.raises(InputError, match="at most 255"):
        create_latent(EncoderSettings(model=backbone), LatentSettings(latents=256, rank=1), live=False)


def test_memories_of_another_number_format_are_refused(encoder, latent_folder):
    narrow = LatentEncoder.from_folder(latent_folder, dtype="bfloat16")
    assert (encoder.memory_format, narrow.memory_format) == ("float32", "bfloat16")
    for one, other in ((encoder, narrow), (narrow, encoder)):
        memories = one.compress(["the lazy dog"])
        with pytest.raises(SpecMismatchError, match="bfloat16"):
            other.generate("why?", memories=memories, settings=SHORT)
        with pytest.raises(SpecMismatchError, match="bfloat16"):
            other.update(memories[0], "and then?")


def test_every_end_token_that_the_checkpoint_names_ends_an_answer(latent_folder, tmp_path):
    backbone = tmp_path / "backbone"
    shutil.copytree(load_latent(latent_folder).backbone.model, backbone)
    whole = LatentEncoder.from_folder(latent_folder, backbone=str(backbone))
    asked = whole._tokenizer.ids_alone([whole._latent_settings.question_template.format(question="why?")])[0]
    prompt = np.asarray([*whole._tokenizer.head_ids, *asked], np.int32)
    written = [*whole._tokens(prompt, None, SHORT)]
    assert len(written) > 2
    (backbone / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, written[2]]}))
    ending = LatentEncoder.from_folder(latent_folder, backbone=str(backbone))
    assert [*ending._tokens(prompt, None, SHORT)] == written[: written.index(written[2])]


def test_a_tokenizer_without_an_end_needs_stop_strings(encoder, monkeypatch):
    monkeypatch.setattr(encoder, "_ends", frozenset())
    with pytest.raises(InputError, match="stop strings"):
        encoder.generate("why?", settings=SHORT)
    assert isinstance(encoder.generate("why?", settings=GenerationSettings(max_tokens=3, stop=("\n",))), str)
