"""The encoder against plain transformers, one text at a time."""

from __future__ import annotations

import dataclasses
import json
import random
import re

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.encoder.batching import distinct, plan_packs
from reasonembed_rag.errors import BackendError, InputError, ModelError, UnknownTaskError
from reasonembed_rag.tasks import DEFAULT_INSTRUCTION

TEXTS = [
    "why does my list keep growing between calls?",
    "the fox",
    "Default parameter values are evaluated once. " * 9,
    "a\n    b\tc",
    "über straße 東京 🦊",
    "lazy dog " * 40,
    "x",
]


def plain(folder, texts, *, pooling, template="{text}", max_length=512):
    """Embed one text at a time with nothing but transformers."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(
            template.replace("{text}", text), return_tensors="pt", truncation=True, max_length=max_length
        )
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state[0]
        vector = {"last": hidden[-1], "mean": hidden.mean(0), "cls": hidden[0]}[pooling]
        rows.append(torch.nn.functional.normalize(vector, dim=0).numpy())
    return np.stack(rows)


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_decoder_documents_equal_plain_transformers_in_any_order_and_batch(tiny_model, kind):
    folder = tiny_model(kind)
    encoder, expected = Encoder.from_pretrained(str(folder)), plain(folder, TEXTS, pooling="last")
    for seed in range(4):
        order = random.Random(seed).sample(range(len(TEXTS)), k=1 + seed * 2)
        vectors = encoder.encode_documents([TEXTS[row] for row in order])
        assert cosine(vectors, expected[order]).min() >= 0.99999
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_decoder_queries_carry_the_reasonembed_template(tiny_model, kind):
    folder = tiny_model(kind)
    encoder = Encoder.from_pretrained(str(folder))
    cases = {
        DEFAULT_INSTRUCTION: encoder.encode_queries(TEXTS),
        "Given a Biology post, retrieve relevant passages that help answer the post.": encoder.encode_queries(
            TEXTS, task="biology"
        ),
        "Find {text} in {instruction}": encoder.encode_queries(TEXTS, instruction="Find {text} in {instruction}"),
    }
    for instruction, vectors in cases.items():
        whole = [f"Instruct: {instruction}\nQuery: {text}" for text in TEXTS]
        assert cosine(vectors, plain(folder, whole, pooling="last")).min() >= 0.99999


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_bert_equals_plain_transformers(tiny_model, pooling):
    folder = tiny_model("bert", pooling=pooling)
    encoder = Encoder.from_pretrained(str(folder))
    expected = plain(folder, TEXTS, pooling=pooling, max_length=128)
    assert cosine(encoder.encode_documents(TEXTS), expected).min() >= 0.99999
    assert cosine(encoder.encode_queries(TEXTS), expected).min() >= 0.99999


def test_an_appended_eos_survives_truncation(tiny_model):
    folder = tiny_model("qwen3", eos_appended=True)
    encoder = Encoder.from_pretrained(str(folder), max_document_length=20)
    expected = plain(folder, TEXTS, pooling="last", max_length=20)
    assert cosine(encoder.encode_documents(TEXTS), expected).min() >= 0.99999


def test_the_end_of_a_template_survives_truncation(tiny_model):
    folder = tiny_model("qwen3")
    spec = dataclasses.replace(
        Encoder.from_pretrained(str(folder)).spec, document_template="passage: {text}\nend", max_document_length=24
    )
    (folder / "spec.json").write_text(spec.to_json())
    encoder = Encoder.from_pretrained(str(folder))
    long = encoder.encode_documents(["lazy dog " * 40])
    kept = encoder.encode_documents(["lazy dog " * 4])
    assert encoder.spec.document_template == "passage: {text}\nend"
    ids = encoder._tokenizer(["lazy dog " * 40], before="passage: ", after="\nend", max_length=24)
    tail = encoder._tokenizer([""], before="", after="\nend", max_length=24)
    assert len(ids.ids) == 24
    assert ids.truncated == 1
    assert list(ids.ids[-len(tail.ids) :]) == list(tail.ids)
    assert cosine(long, kept).max() < 0.9999999


def test_prompts_of_a_sentence_transformers_folder_are_used(tiny_model):
    folder = tiny_model("qwen3", pooling="last")
    prompts = {"query": "Instruct: Find what helps\nQuery:", "document": "doc {x}: "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    encoder = Encoder.from_pretrained(str(folder))
    assert encoder.spec.query_template == "Instruct: {instruction}\nQuery:{text}"
    expected = plain(
        folder, [f"Instruct: Find what helps\nQuery:{text}" for text in TEXTS], pooling="last", max_length=128
    )
    assert cosine(encoder.encode_queries(TEXTS), expected).min() >= 0.99999
    expected = plain(folder, [f"doc {{x}}: {text}" for text in TEXTS], pooling="last", max_length=128)
    assert cosine(encoder.encode_documents(TEXTS), expected).min() >= 0.99999


def test_a_lora_folder_gives_the_vectors_of_peft(tiny_model, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    folder = tiny_model("llama")
    config = peft.LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    torch.manual_seed(3)
    peft.get_peft_model(AutoModel.from_pretrained(folder), config).save_pretrained(tmp_path / "lora")
    merged = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(folder), tmp_path / "lora").merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "merged" / name).write_bytes((folder / name).read_bytes())
    expected = plain(tmp_path / "merged", TEXTS, pooling="last")
    adapted = Encoder.from_pretrained(str(folder), adapter=str(tmp_path / "lora"))
    assert cosine(adapted.encode_documents(TEXTS), expected).min() >= 0.99999
    base = Encoder.from_pretrained(str(folder))
    assert cosine(base.encode_documents(TEXTS), expected).min() < 0.99
    assert base.spec.space() != adapted.spec.space()
    by_folder = Encoder.from_pretrained(str(tmp_path / "lora"))
    assert np.array_equal(by_folder.encode_documents(TEXTS), adapted.encode_documents(TEXTS))


def test_an_adapter_of_another_backbone_is_refused(tiny_model, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    config = peft.LoraConfig(r=2, target_modules=["q_proj"])
    peft.get_peft_model(AutoModel.from_pretrained(tiny_model("llama", hidden_size=32)), config).save_pretrained(
        tmp_path
    )
    with pytest.raises(ModelError, match=r"\bq_proj\b.*\(64, 32\).*\(64, 64\)"):
        Encoder.from_pretrained(str(tiny_model("llama")), adapter=str(tmp_path))


def test_truncate_dim_keeps_the_first_numbers_and_normalises_them(tiny_model):
    folder = str(tiny_model("qwen3"))
    whole = Encoder.from_pretrained(folder).encode_documents(TEXTS)[:, :24]
    truncated = Encoder.from_pretrained(folder, truncate_dim=24).encode_documents(TEXTS)
    assert np.allclose(truncated, whole / np.linalg.norm(whole, axis=1, keepdims=True), atol=1e-6)


def test_no_texts_give_no_rows_and_repeats_give_equal_rows(tiny_model):
    encoder = Encoder.from_pretrained(str(tiny_model("bert")))
    assert encoder.encode_documents([]).shape == encoder.encode_queries([]).shape == (0, 64)
    vectors = encoder.encode_documents(["a", "b", "a", ""])
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])
    assert np.isfinite(vectors).all()


def test_an_empty_document_is_encoded_even_without_special_tokens(tiny_model):
    assert np.isfinite(Encoder.from_pretrained(str(tiny_model("qwen3"))).encode_documents([""])).all()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([None], r"texts\[0\].*\bNoneType\b"),
        (["fine", "  \n"], r"texts\[1\].*\bempty\b"),
        (["fine", "\ud800"], r"texts\[1\].*surrogate.*\b0\b"),
    ],
)
def test_an_invalid_query_is_named_by_its_index(tiny_model, texts, message):
    with pytest.raises(InputError, match=message):
        Encoder.from_pretrained(str(tiny_model("bert"))).encode_queries(texts)


def test_tasks_and_instructions_are_checked(tiny_model):
    bert, qwen = (Encoder.from_pretrained(str(tiny_model(kind))) for kind in ("bert", "qwen3"))
    with pytest.raises(UnknownTaskError, match=r"'alchemy'.*\bbiology\b"):
        bert.encode_queries(["a"], task="alchemy")
    with pytest.raises(InputError, match=rf"{re.escape(bert.spec.model)}.*\binstruction\b"):
        bert.encode_queries(["a"], instruction="Find it")
    with pytest.raises(InputError, match=r"\btask\b.*\binstruction\b"):
        qwen.encode_queries(["a"], task="biology", instruction="Find it")


def test_settings_that_the_model_does_not_support_are_refused(tiny_model):
    folder = str(tiny_model("bert"))
    for settings in ({"truncate_dim": 65}, {"max_query_length": 513}, {"dtype": "int3"}, {"device": "warp:0"}):
        [(name, value)] = settings.items()
        with pytest.raises(InputError, match=rf"\b{name}\b.*\b{value}\b"):
            Encoder.from_pretrained(folder, **settings)
    with pytest.raises(InputError, match=r"\bmax_length\b.*\b3\b"):
        Encoder.from_pretrained(str(tiny_model("qwen3")), max_query_length=3).encode_queries(["why?"])


def test_a_folder_without_a_model_is_refused(tiny_model, tmp_path):
    with pytest.raises(ModelError, match=r"\bnowhere\b.*config\.json"):
        Encoder.from_pretrained(str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match=rf"{tmp_path.name}\b.*\bconfig\.json"):
        Encoder.from_pretrained(str(tmp_path))
    folder = tiny_model("bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"\bmodel\.safetensors\b.*\bpytorch_model\.bin\b"):
        Encoder.from_pretrained(str(folder))


def test_weights_that_are_missing_or_not_finite_raise(tiny_model):
    from safetensors.torch import load_file, save_file

    folder = tiny_model("qwen3")
    weights = load_file(folder / "model.safetensors")
    name = "layers.1.mlp.up_proj.weight"
    save_file(weights | {name: weights[name] * float("nan")}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackendError, match="finite"):
        Encoder.from_pretrained(str(folder)).encode_documents(["a"])
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"\b1\b.*\b{re.escape(name)}"):
        Encoder.from_pretrained(str(folder))


def test_a_tokenizer_of_another_checkpoint_is_refused(tiny_model):
    with pytest.raises(ModelError, match=r"\btokenizer\b.*\b100\b.*\bcheckpoint\b"):
        Encoder.from_pretrained(str(tiny_model("qwen3", vocab_size=100)))


def test_packs_hold_every_row_once_within_the_budget_longest_first():
    lengths = np.random.default_rng(0).integers(1, 300, size=500)
    packs = plan_packs(lengths, budget=256)
    assert sorted(np.concatenate(packs)) == list(range(500))
    assert all(lengths[pack].sum() <= 256 or len(pack) == 1 for pack in packs)
    assert (np.diff(lengths[np.concatenate(packs)]) <= 0).all()


def test_distinct_items_give_back_every_row():
    items = ["b", "a", "b", "c", "a"]
    found = distinct(items)
    assert [items[row] for row in found.first] == ["b", "a", "c"]
    assert [items[found.first[number]] for number in found.inverse] == items
