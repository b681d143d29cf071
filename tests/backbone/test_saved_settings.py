"""What sentence-transformers saves beside a model is read as it reads it, refused, or told; nothing is passed over."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest

from reasonembed_rag import Document, Encoder
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_stores import FaissStore, IndexRetriever

TEXTS = ["why do cells divide?", "the quick brown fox"]


@pytest.fixture
def folder(tiny_model):
    return tiny_model("bert", pooling="mean")


def write(folder, name, **settings):
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | settings))


def save(folder, **settings):
    write(folder, "config_sentence_transformers.json", **settings)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_saved_truncate_dim_keeps_the_first_numbers_and_an_argument_wins(folder):
    whole = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    save(folder, truncate_dim=16)
    encoder = Encoder.from_pretrained(folder)
    assert encoder.dimension == encoder.spec.dimension == 16
    assert np.allclose(encoder.encode_documents(TEXTS), unit(whole[:, :16]), atol=1e-6)
    for asked in (8, 16, 40, 64):
        again = Encoder.from_pretrained(folder, truncate_dim=asked)
        assert np.allclose(again.encode_documents(TEXTS), unit(whole[:, :asked]), atol=1e-6)
        assert again.dimension == asked
    with pytest.raises(InputError, match=r"\btruncate_dim is 65\b"):
        Encoder.from_pretrained(folder, truncate_dim=65)


def test_without_a_normalize_module_the_numbers_are_those_of_the_whole_vector(folder):
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    whole = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    save(folder, truncate_dim=16)
    assert np.allclose(Encoder.from_pretrained(folder).encode_documents(TEXTS), whole[:, :16], atol=1e-6)


@pytest.mark.parametrize("value", [None, 64, 1000])
def test_no_truncate_dim_or_one_beyond_the_model_keeps_everything(folder, value):
    save(folder, truncate_dim=value)
    assert Encoder.from_pretrained(folder).dimension == 64


@pytest.mark.parametrize("value", [0, -8, "16", 16.0, True, [16]])
def test_a_truncate_dim_that_is_no_dimension_is_refused(folder, value):
    save(folder, truncate_dim=value)
    with pytest.raises(ModelError, match=r"config_sentence_transformers\.json.*\btruncate_dim\b"):
        Encoder.from_pretrained(folder)


def test_an_index_made_with_more_dimensions_than_the_files_name_is_still_searched(folder, tmp_path):
    encoder = Encoder.from_pretrained(folder)
    with FaissStore.create(tmp_path / "index", spec=encoder.spec) as store:
        store.upsert([Document(text, text) for text in TEXTS], encoder.encode_documents(TEXTS))
    save(folder, truncate_dim=16)
    assert IndexRetriever(tmp_path / "index").search([TEXTS[0]], k=1)[0].ids == (TEXTS[0],)


def test_lengths_of_queries_and_documents_are_read(folder):
    write(folder, "sentence_bert_config.json", query_length=32, document_length=100)
    spec = Encoder.from_pretrained(folder).spec
    assert (spec.max_query_length, spec.max_document_length) == (32, 100)


def test_pooling_without_a_mode_is_the_mean(folder):
    wanted = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    write(folder, "1_Pooling/config.json", pooling_mode_mean_tokens=False)
    assert np.array_equal(Encoder.from_pretrained(folder).encode_documents(TEXTS), wanted)


REFUSED = {
    "a sparse model": ("config_sentence_transformers.json", {"model_type": "SparseEncoder"}),
    "a default prompt that is not there": ("config_sentence_transformers.json", {"default_prompt_name": "query"}),
    "another task": ("sentence_bert_config.json", {"transformer_task": "fill-mask"}),
    "another output": (
        "sentence_bert_config.json",
        {"modality_config": {"text": {"method": "forward", "method_output_name": "logits"}}},
    ),
    "query expansion": ("sentence_bert_config.json", {"query_expansion": {"length": 32}}),
    "processing": ("sentence_bert_config.json", {"processing_kwargs": {"text": {"truncation": False}}}),
    "a length in words": ("sentence_bert_config.json", {"query_length": "many"}),
    "two modes of pooling": ("1_Pooling/config.json", {"pooling_mode_cls_token": True}),
    "a mode that is not supported": ("1_Pooling/config.json", {"pooling_mode": "weightedmean"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_would_change_the_vectors_is_refused(folder, name):
    file, settings = REFUSED[name]
    write(folder, file, **settings)
    with pytest.raises(ModelError, match=str(folder)):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda modules: [*modules, modules[1] | {"type": "sentence_transformers.models.Dense"}],
        lambda modules: [modules[0], modules[2], modules[1]],
        lambda modules: [*modules, modules[1]],
        lambda modules: [modules[0] | {"type": "custom_st.Transformer"}, *modules[1:]],
        lambda modules: modules[1:],
    ],
)
def test_modules_that_would_change_the_vectors_are_refused(folder, change):
    path = folder / "modules.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ModelError, match=r"\bmodules\.json\b"):
        Encoder.from_pretrained(folder)


def test_normalisation_of_tokens_is_refused(folder):
    (folder / "2_Normalize").mkdir()
    write(folder, "2_Normalize/config.json", module_input_name="token_embeddings")
    with pytest.raises(ModelError, match=r"\bmodule_input_name\b"):
        Encoder.from_pretrained(folder)


def test_the_first_token_after_a_prompt_is_refused(tiny_model):
    folder = tiny_model("bert", pooling="cls")
    write(folder, "1_Pooling/config.json", include_prompt=False)
    assert Encoder.from_pretrained(folder).spec.pooling == "cls"  # without a prompt there is nothing to leave out
    save(folder, prompts={"query": "query: "})
    with pytest.raises(ModelError, match=r"\binclude_prompt\b"):
        Encoder.from_pretrained(folder)


def test_what_is_not_read_and_another_similarity_are_told(folder, caplog):
    modules = json.loads((folder / "modules.json").read_text())
    save(folder, similarity_fn_name="dot", truncate_dim=None, prompts={})
    arguments = {"attn_implementation": "sdpa", "special": 1}
    write(folder, "sentence_bert_config.json", do_lower_case=False, model_args=arguments, config_args={}, novelty=1)
    with caplog.at_level(logging.WARNING):
        Encoder.from_pretrained(folder)
    assert "model_args.special" in caplog.text
    assert "novelty" in caplog.text
    assert not {"attn_implementation", "do_lower_case", "'dot'"} & set(caplog.text.replace(",", " ").split())
    caplog.clear()
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    with caplog.at_level(logging.WARNING):
        Encoder.from_pretrained(folder)
    assert "'dot'" in caplog.text  # vectors of any length: the dot product is another ranking
