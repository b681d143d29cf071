"""Every supported architecture through the whole encoder: together, alone, padded and with a shared prefix.

The oracle is transformers' own class, one text at a time, called here and nowhere else.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.backbone.architectures import read_blueprint
from reasonembed_rag.encoder import local as engine

LOCAL = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
DECODERS = {
    "qwen3": {},
    "qwen2": {"vocab_size": 420},  # its tokenizer class adds a token
    "llama": {},
    "mistral": {"sliding_window": 24},
    "gemma": {},
    "gemma2": LOCAL | {"attn_logit_softcapping": 3.0},
    "gemma3_text": LOCAL,
}
ENCODERS = {
    "bert": {},
    "roberta": {"pad_token_id": 1},
    "xlm-roberta": {"pad_token_id": 1},
    "mpnet": {"pad_token_id": 1},
    "modernbert": {"local_attention": 16, "global_attn_every_n_layers": 2, "num_hidden_layers": 3},
}
OTHERS = {
    "distilbert": {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "albert": {"embedding_size": 32},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "phi3": {"num_key_value_heads": 2},
    "granite": {"num_key_value_heads": 2, "residual_multiplier": 0.3, "embedding_multiplier": 3.0},
}
INSTRUCTION = "Given a Biology post, retrieve relevant passages that help answer the post."
TEXTS = ["why?", "the quick brown fox", "a list keeps growing " * 3, "lazy dog " * 24, "lazy dog " * 25, "x"]


def plain(folder, texts, pooling):
    """Embed one text at a time with nothing but transformers."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    rows = []
    for text in texts:
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
        vector = {"last": hidden[-1], "mean": hidden.mean(0), "cls": hidden[0]}[pooling]
        rows.append(torch.nn.functional.normalize(vector, dim=0).numpy())
    return np.stack(rows)


def lowest(a, b):
    return float((a * b).sum(1).min())


def check_every_way(encoder, expected, expected_queries=None):
    """Compare texts together, in another order, in small packs and alone; queries with their instruction too."""
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert lowest(encoder.encode_documents(TEXTS), expected) >= 0.99999
    assert lowest(encoder.encode_documents([TEXTS[row] for row in order]), expected[order]) >= 0.99999
    assert lowest(np.concatenate([encoder.encode_documents([text]) for text in TEXTS]), expected) >= 0.99999
    if expected_queries is not None:
        assert lowest(encoder.encode_queries(TEXTS, task="biology"), expected_queries) >= 0.99999
        alone = np.concatenate([encoder.encode_queries([text], task="biology") for text in TEXTS])
        assert lowest(alone, expected_queries) >= 0.99999


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_equals_transformers_in_every_method(tiny_model, monkeypatch, kind):
    folder = tiny_model(kind, eos_appended=kind in {"qwen3", "mistral"}, **DECODERS[kind])
    expected = plain(folder, TEXTS, "last")
    queries = plain(folder, [f"Instruct: {INSTRUCTION}\nQuery: {text}" for text in TEXTS], "last")
    for budget in (None, 20):
        encoder = Encoder.from_pretrained(folder, token_budget=budget)
        assert encoder._engine.packed
        check_every_way(encoder, expected, queries)
    assert len(encoder._engine._prefixes) >= 1
    monkeypatch.setattr(engine, "_packed", lambda loaded, switch: (None, "for comparison"))
    check_every_way(Encoder.from_pretrained(folder), expected, queries)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_equals_transformers_in_every_method(tiny_model, monkeypatch, kind, pooling):
    folder = tiny_model(kind, pooling=pooling, **ENCODERS[kind])
    expected = plain(folder, TEXTS, pooling)
    for budget in (None, 20):
        encoder = Encoder.from_pretrained(folder, token_budget=budget, backend="torch")
        assert encoder._engine.packed
        check_every_way(encoder, expected)
    monkeypatch.setattr(engine, "_packed", lambda loaded, switch: (None, "for comparison"))
    check_every_way(Encoder.from_pretrained(folder, backend="torch"), expected)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_on_onnx_runtime_equals_transformers_in_every_method(tiny_model, kind, pooling):
    pytest.importorskip("onnx")
    folder = tiny_model(kind, pooling=pooling, **ENCODERS[kind])
    for budget in (None, 20):
        encoder = Encoder.from_pretrained(folder, token_budget=budget, backend="onnx")
        check_every_way(encoder, plain(folder, TEXTS, pooling))


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_architecture_runs_through_transformers_correctly_and_the_log_says_why(tiny_model, caplog, kind):
    folder = tiny_model(kind, **OTHERS[kind])
    encoder = Encoder.from_pretrained(folder, backend="torch")
    assert not encoder._engine.packed
    assert re.search(rf"{re.escape(str(folder))}\b.*\btransformers\b", caplog.text)
    check_every_way(encoder, plain(folder, TEXTS, encoder.spec.pooling))
    assert (encoder.spec.pooling, encoder.dimension) == ("last" if kind in {"gpt2", "phi3", "granite"} else "mean", 64)


@pytest.mark.parametrize("kind", [*DECODERS, "modernbert"])
def test_a_wrong_mask_fails_the_self_check_of_every_architecture(tiny_model, monkeypatch, caplog, kind):
    """The negative control: causality reversed in decoders, windows off by one in ModernBERT."""
    import dataclasses

    folder = tiny_model(kind, seed=21, **(DECODERS | ENCODERS)[kind])
    expected = plain(folder, TEXTS, "last" if kind in DECODERS else "mean")

    def wrong(backbone, causal, **settings):
        if kind in DECODERS:
            return read_blueprint(backbone, causal=not causal, **settings)
        blueprint = read_blueprint(backbone, causal=causal, **settings)
        layers = [
            dataclasses.replace(layer, rule=dataclasses.replace(layer.rule, window=(layer.rule.window or 99) + 1))
            for layer in blueprint.layers
        ]
        return dataclasses.replace(blueprint, layers=layers)

    monkeypatch.setattr(engine, "read_blueprint", wrong)
    encoder = Encoder.from_pretrained(folder, backend="torch")
    assert not encoder._engine.packed
    assert "0.9999" in caplog.text
    assert lowest(encoder.encode_documents(TEXTS), expected) >= 0.99999  # correct all the same


def test_pooling_without_the_prompt_comes_from_the_files(tiny_model):
    folder = tiny_model("bert", pooling="mean")
    config = folder / "1_Pooling" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"include_prompt": False}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "query: "}}))
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    encoder = Encoder.from_pretrained(folder)
    assert not encoder.spec.pool_prompt
    skip = 1 + len(tokenizer("query: ", add_special_tokens=False)["input_ids"])  # and [CLS]
    for text, vector in zip(TEXTS, encoder.encode_queries(TEXTS), strict=True):
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([tokenizer("query: " + text)["input_ids"]])).last_hidden_state[0]
        assert torch.cosine_similarity(hidden[skip:].mean(0), torch.from_numpy(vector), dim=0) >= 0.99999


def test_vectors_are_not_normalised_if_the_files_say_so(tiny_model):
    folder = tiny_model("bert", pooling="mean")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))  # without Normalize
    lengths = np.linalg.norm(Encoder.from_pretrained(folder).encode_documents(TEXTS), axis=1)
    assert np.ptp(lengths) > 1e-3
    unit = Encoder.from_pretrained(folder, truncate_dim=16).encode_documents(TEXTS)
    assert np.allclose(unit, Encoder.from_pretrained(folder).encode_documents(TEXTS)[:, :16], atol=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_every_number_format_stays_within_its_distance_to_float32(tiny_model, dtype):
    """Each is checked at load; here against plain transformers in float32."""
    floors = {"bfloat16": 0.999, "float16": 0.999, "int8": 0.95}
    for kind, settings in (("llama", {}), ("xlm-roberta", {"pad_token_id": 1}), ("gemma2", LOCAL)):
        folder = tiny_model(kind, **settings)
        encoder = Encoder.from_pretrained(folder, dtype=dtype)
        assert encoder.spec.dtype == dtype
        assert lowest(encoder.encode_documents(TEXTS), plain(folder, TEXTS, encoder.spec.pooling)) >= floors[dtype]


def st_folder(tiny_model, **files):
    """Build a sentence-transformers folder with some of its JSON files changed."""
    folder = tiny_model("bert", pooling="mean")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_lowercasing_folder_gives_the_vectors_of_sentence_transformers(tiny_model):
    import shutil

    from transformers import AutoTokenizer

    folder = st_folder(tiny_model, sentence_bert_config={"max_seq_length": 128, "do_lower_case": True})
    cased = json.loads((folder / "tokenizer.json").read_text())
    cased["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(cased))
    assert (
        AutoTokenizer.from_pretrained(folder)("FOX")["input_ids"]
        != AutoTokenizer.from_pretrained(folder)("fox")["input_ids"]
    )
    texts = ["The Quick FOX", "LAZY dog"]
    lowered = Encoder.from_pretrained(folder).encode_documents(texts)
    plain_folder = folder.with_name(folder.name + "-plain")
    shutil.copytree(folder, plain_folder)
    (plain_folder / "sentence_bert_config.json").write_text("{}")
    cased_encoder = Encoder.from_pretrained(plain_folder)
    assert np.abs(lowered - cased_encoder.encode_documents([text.lower() for text in texts])).max() < 1e-6
    assert np.abs(lowered - cased_encoder.encode_documents(texts)).max() > 1e-3


def test_the_longest_text_comes_from_sentence_transformers_files_then_from_the_tokenizers(tiny_model):
    folder = st_folder(tiny_model, sentence_bert_config={"max_seq_length": None})
    config = json.loads((folder / "tokenizer_config.json").read_text())

    def lengths():
        spec = Encoder.from_pretrained(folder).spec
        return {spec.max_query_length, spec.max_document_length}

    for limit, wanted in ((64, 64), (131_072, 512), (10**30, 512)):
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": limit}))
        assert lengths() == {wanted}
    (folder / "sentence_bert_config.json").rename(folder / "sentence_roberta_config.json")
    (folder / "sentence_roberta_config.json").write_text('{"max_seq_length": 99}')
    assert lengths() == {99}


def test_files_that_contradict_the_table_take_precedence_and_the_log_names_each(tiny_model, monkeypatch, caplog):
    from reasonembed_rag.backbone import source

    folder = tiny_model("bert", pooling="cls")
    monkeypatch.setattr(source, "find_model", lambda name, revision=None, weights=True: folder)
    spec = Encoder.from_pretrained("contriever-msmarco").spec
    assert (spec.pooling, spec.normalize) == ("cls", True)
    assert re.search(r"\bpooling\b.*'cls'.*'mean'", caplog.text)
    assert re.search(r"\bnormali\w+\b.*\bTrue\b.*\bFalse\b", caplog.text)
    caplog.clear()
    folder = tiny_model("mistral", pooling="last")
    spec = Encoder.from_pretrained("e5-mistral-7b-instruct", max_query_length=50).spec
    assert (spec.max_query_length, spec.max_document_length) == (50, 128)
    assert re.search(r"\bdocument\b.*\b128\b.*\b4096\b", caplog.text)
