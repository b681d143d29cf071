"""Splitters sized by a model: by its own count nothing is truncated, templates and headings included."""

from __future__ import annotations

import dataclasses
import logging
import pickle

import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import (
    EncoderSettings,
    RemoteEncoder,
    SharedEncoder,
    collect_truncations,
    passage_splitter,
    shared_encoder,
    splitting,
)
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.spec import EmbeddingSpec

TEXT = "# Foxes\n\n" + "The quick brown fox jumps over the lazy dog; \u00e9t\u00e9, \u4e2d\u6587, QUJDRA==. " * 60
SPEC = EmbeddingSpec(
    model="served", pooling="mean", attention="bidirectional", max_query_length=40, max_document_length=40, dimension=4
)


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("tokens", [None, 12, 30])
def test_the_model_truncates_no_passage_and_its_template_counts(tiny_model, kind, tokens, caplog):
    folder = tiny_model(kind, eos_appended=True)
    spec = {**dataclasses.asdict(Encoder.from_pretrained(folder).spec), "document_template": "passage: {text} (end)"}
    (folder / "spec.json").write_text(EmbeddingSpec(**spec).to_json())
    encoder = Encoder.from_pretrained(folder, max_document_length=60)
    splitter = encoder.passage_splitter(tokens=tokens, overlap=4)
    passages = splitter.split(TEXT, heading=("Animals", "of the woods")).passages
    assert {passage.heading[:2] for passage in passages} == {("Animals", "of the woods")}
    with collect_truncations() as counts:
        encoder.encode_documents([passage.content for passage in passages])
        assert counts.by_length == {}
        encoder.encode_documents(["fox " * (splitter.limit + 1)])
    assert counts.by_length == {60: 1}


def test_the_limit_is_exactly_what_the_model_reads(tiny_model):
    encoder = Encoder.from_pretrained(tiny_model("bert"), max_document_length=30)
    splitter = encoder.passage_splitter()
    whole = "a " * splitter.limit
    assert len(splitter.spans([whole])[0]) == splitter.limit
    with collect_truncations() as counts:
        encoder.encode_documents([whole])
        assert counts.by_length == {}
        encoder.encode_documents([whole + "a"])
    assert counts.by_length == {30: 1}


def test_a_model_by_name_or_settings_is_split_for_without_its_weights(tiny_model):
    folder = tiny_model("bert")
    expected = Encoder.from_pretrained(folder, max_document_length=50).passage_splitter().split(TEXT)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    settings = EncoderSettings(model=str(folder), max_document_length=50)
    assert passage_splitter(settings).split(TEXT) == expected
    assert shared_encoder(settings).passage_splitter().split(TEXT) == expected
    assert passage_splitter(str(folder)).limit > passage_splitter(settings).limit
    with pytest.raises(ModelError, match="no weights"):
        _ = shared_encoder(settings).spec


def test_a_splitter_survives_pickling(tiny_model):
    splitter = passage_splitter(str(tiny_model("qwen3")), tokens=20, overlap=5)
    assert pickle.loads(pickle.dumps(splitter)).split(TEXT) == splitter.split(TEXT)


def test_a_server_with_a_tokenizer_is_split_for_as_the_model_itself(tiny_model):
    folder = str(tiny_model("bert"))
    remote = RemoteEncoder("http://localhost:1/v1", "served", SPEC, tokenizer=folder)
    local = Encoder.from_pretrained(folder, max_document_length=40)
    assert passage_splitter(remote).split(TEXT) == local.passage_splitter().split(TEXT)
    with pytest.raises(InputError, match="41"):
        passage_splitter(remote, tokens=41)


def test_an_embedder_without_a_tokenizer_gets_estimated_tokens_and_one_warning(words, caplog):
    splitting._warn_of_estimates.cache_clear()
    for model in (words, SharedEncoder(lambda: words), "words"):
        with caplog.at_level(logging.WARNING):
            splitter = passage_splitter(model)
        assert splitter.target < splitter.limit < words.spec.max_document_length
    assert [record.getMessage().startswith("words: ") for record in caplog.records] == [True]
    passages = splitter.split("abcdefgh " * 200 + "\u0e01\u0e34" * 100).passages
    assert max(len(passage.text) for passage in passages) <= 4 * splitter.limit


def test_an_own_splitter_of_an_embedder_is_used(words):
    own = passage_splitter(words, tokens=7)
    words.passage_splitter = lambda *, tokens, overlap: own
    assert passage_splitter(SharedEncoder(lambda: words), overlap=3) is own


def test_a_window_without_room_for_text_is_refused(tiny_model):
    with pytest.raises(InputError, match="max_document_length is 2"):
        passage_splitter(EncoderSettings(model=str(tiny_model("bert")), max_document_length=2))
