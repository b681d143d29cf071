"""Invalid input is refused with a clear error before any work, or encoded correctly; never a silent NaN."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import collect_truncations
from reasonembed_rag.encoder.cache import VectorCache
from reasonembed_rag.errors import BackendError, InputError, ModelError

MILLION = 1_000_000


@pytest.fixture(scope="module")
def qwen(tiny_model):
    return Encoder.from_pretrained(str(tiny_model("qwen3")))


@pytest.fixture(scope="module")
def bert(tiny_model):
    return Encoder.from_pretrained(str(tiny_model("bert")))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, r"\btexts\b.*\bNoneType\b"),
        (5, r"\btexts\b.*\bint\b"),
        ({"a", "b"}, r"\btexts\b.*\bset\b"),
        ({"a": 1}, r"\btexts\b.*\bdict\b"),
        (b"bytes", r"\btexts\b.*\bbytes\b.*\blist\b"),
        (["a", None], r"texts\[1\].*\bNoneType\b.*\bstr\b"),
        (["a", 5.0], r"texts\[1\].*\bfloat\b.*\bstr\b"),
        ([["a"]], r"texts\[0\].*\blist\b.*\bstr\b"),
        (["a", b"b"], r"texts\[1\].*\bbytes\b.*\bstr\b"),
        (["fine", "x\udfffy"], r"texts\[1\].*surrogate.*\b1\b.*errors='replace'"),
    ],
)
async def test_anything_but_texts_is_refused_by_every_method(qwen, texts, message):
    for encode in (qwen.encode_queries, qwen.encode_documents):
        with pytest.raises(InputError, match=message):
            encode(texts)
    for encode in (qwen.aencode_queries, qwen.aencode_documents):
        with pytest.raises(InputError, match=message):
            await encode(texts)
    assert qwen.tokens_encoded == 0


def test_a_bad_text_among_many_is_named_before_any_is_encoded(tiny_model, monkeypatch):
    encoder = Encoder.from_pretrained(str(tiny_model("bert")))
    monkeypatch.setattr(encoder._engine, "run", lambda *_, **__: pytest.fail("was run"))
    with pytest.raises(InputError, match=r"texts\[9999\].*\bNoneType\b"):
        encoder.encode_documents(["a"] * 9999 + [None])


@pytest.mark.parametrize("texts", [("a", "b"), np.asarray(["a", "b"]), iter(["a", "b"]), {"a": 0, "b": 1}.keys()])
def test_other_sequences_of_texts_are_as_good_as_lists(bert, texts):
    if hasattr(texts, "mapping"):  # dict views count as sets, since their type does not promise an order
        with pytest.raises(InputError):
            bert.encode_documents(texts)
    else:
        assert np.array_equal(bert.encode_documents(texts), bert.encode_documents(["a", "b"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": 5}, r"\btask\b.*\bint\b.*\bstr\b"),
        ({"task": []}, r"\btask\b.*\blist\b.*\bstr\b"),
        ({"instruction": 5}, r"\binstruction\b.*\bint\b.*\bstr\b"),
        ({"instruction": " "}, r"\binstruction\b.*\bempty\b"),
        ({"instruction": "find \ud800"}, r"\binstruction\b.*surrogate.*\b5\b"),
    ],
)
def test_instructions_are_checked(qwen, settings, message):
    with pytest.raises(InputError, match=message):
        qwen.encode_queries(["why?"], **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name_or_path": None}, r"\bmodel\b.*\bNone\b.*'default'"),
        ({"name_or_path": ""}, r"\bmodel\b.*''.*'default'"),
        ({"adapter": ["lora"]}, r"\badapter\b.*\['lora'\]"),
        ({"adapter": ""}, r"\badapter\b.*''"),
        ({"adapter": {"": "lora"}}, r"\bname\b.*\badapter\b.*''"),
        ({"adapter": {"law": None}}, r"\badapter\b.*\blaw\b.*\bNone\b"),
        ({"revision": 3}, r"\brevision\b.*\b3\b"),
        ({"device": 5}, r"\bdevices?\b.*\b5\b.*'cuda:0'"),
        ({"device": torch.device("cpu")}, r"\bdevices?\b.*\bdevice\(type='cpu'\)"),
        ({"device": []}, r"\bdevices?\b.*\[\]"),
        ({"device": [None]}, r"\bdevices?\b.*\[None\]"),
        ({"device": ""}, r"\bdevice\b.*''.*'cuda:0'"),
        ({"device": "warp:0"}, r"\bdevice\b.*'warp:0'.*'cuda:N'"),
        ({"device": "meta"}, r"\bdevice\b.*'meta'"),
        ({"dtype": torch.bfloat16}, r"\bdtype\b.*\btorch\.bfloat16\b.*\bfloat32\b"),
        ({"dtype": "int3"}, r"\bdtype\b.*'int3'.*\bint8\b"),
        ({"max_query_length": "5"}, r"\bmax_query_length\b.*'5'"),
        ({"max_document_length": 5.5}, r"\bmax_document_length\b.*\b5\.5\b"),
        ({"max_document_length": 0}, r"\bmax_document_length\b.*\b0\b"),
        ({"truncate_dim": True}, r"\btruncate_dim\b.*\bTrue\b"),
        ({"token_budget": "many"}, r"\btoken_budget\b.*'many'"),
        ({"token_budget": 0}, r"\btoken_budget\b.*\b0\b"),
        ({"cache": "folder"}, r"\bcache\b.*'folder'.*\bVectorCache\("),
    ],
)
def test_settings_of_wrong_types_are_refused(tiny_model, settings, message):
    name = settings.pop("name_or_path", str(tiny_model("bert")))
    with pytest.raises(InputError, match=message):
        Encoder.from_pretrained(name, **settings)


def test_a_missing_device_gives_a_short_error(tiny_model):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError) as caught:
        Encoder.from_pretrained(str(tiny_model("bert")), device="cuda:7")
    assert len(str(caught.value)) < 250


def test_a_path_object_is_as_good_as_its_text(tiny_model, tmp_path):
    folder = tiny_model("bert")
    encoder = Encoder.from_pretrained(folder)
    assert encoder.spec == Encoder.from_pretrained(str(folder)).spec
    with pytest.raises(ModelError, match=r"\bnowhere\b.*config\.json"):
        Encoder.from_pretrained(folder, adapter=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text", ["a" * MILLION, "dog " * (MILLION // 4), "東" * MILLION, "\n" * MILLION, "(" * MILLION]
)
def test_a_text_of_a_million_characters_has_the_vector_of_its_start(qwen, bert, text):
    with collect_truncations() as counts:
        qwen.encode_documents([text])
    assert counts.by_length == {512: 1}
    for encoder in (qwen, bert):
        short = np.abs(encoder.encode_documents([text]) - encoder.encode_documents([text[:20_000]])).max()
        assert short < 1e-5
    query = encoder.encode_queries(["why? " + text])
    assert np.isfinite(query).all()


def test_unusual_characters_give_finite_vectors_of_length_one(qwen, bert):
    texts = [
        "",
        " ",
        "\0",
        "\u200b",
        "\ufeff",
        "\U0010ffff",
        "e\u0301",
        "<pad>",
        "<eos>",
        "[CLS] [SEP]",
        "\r\n",
        "\u202eabc",
    ]
    for encoder in (qwen, bert):
        vectors = encoder.encode_documents(texts)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


async def test_one_string_gives_the_vector_of_a_list_with_it(qwen):
    text = "why do cells divide?"
    query = qwen.encode_queries([text], task="biology")
    assert np.array_equal(qwen.encode_queries(text, task="biology"), query[0])
    assert np.array_equal(await qwen.aencode_queries(text, task="biology"), query[0])
    document = qwen.encode_documents([text])
    assert np.array_equal(qwen.encode_documents(text), document[0])
    assert np.array_equal(await qwen.aencode_documents(text), document[0])
    for encode in (qwen.encode_queries, qwen.aencode_queries):
        with pytest.raises(InputError, match=r"\bempty\b"):
            await encode("") if encode == qwen.aencode_queries else encode("")


def test_an_empty_query_is_refused_and_an_empty_document_is_not(bert):
    with pytest.raises(InputError, match=r"texts\[0\].*\bempty\b"):
        bert.encode_queries(["\t"])
    assert bert.encode_documents([""]).shape == (1, 64)


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_weights_that_are_not_finite_are_an_error_in_every_method_and_never_cached(
    tiny_model, tmp_path, kind, value
):
    from safetensors.torch import load_file, save_file

    folder = tiny_model(kind)
    weights = load_file(folder / "model.safetensors")
    name = next(key for key in weights if "layernorm" in key.lower() and key.endswith("weight") and ".1." in key)
    weights[name][3] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with VectorCache(tmp_path, max_bytes=1 << 20) as cache:
        encoder = Encoder.from_pretrained(str(folder), cache=cache, backend="torch")
        for _ in range(2):
            with pytest.raises(BackendError, match=r"finite.*\bfloat32\b"):
                encoder.encode_documents(["a"])
        with pytest.raises(BackendError, match="finite"):
            encoder.encode_queries(["a"])
        with pytest.raises(BackendError, match="finite"):
            await encoder.aencode_documents(["a"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_on_onnx_runtime_weights_that_are_not_finite_are_an_error_at_load(tiny_model, value):
    from safetensors.torch import load_file, save_file

    pytest.importorskip("onnx")
    folder = tiny_model("bert")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.LayerNorm.weight"][3] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"not finite in float32.*check the files"):
        Encoder.from_pretrained(str(folder), backend="onnx")


def test_a_tokenizer_larger_than_the_embedding_is_refused_before_any_text(tiny_model):
    with pytest.raises(ModelError, match=r"\btokenizer\b.*\b100\b.*\bcheckpoint\b"):
        Encoder.from_pretrained(str(tiny_model("bert", vocab_size=100)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dimension": 128}, None, ""),
        ({"max_query_length": 4096}, InputError, r"\bmax_query_length\b.*\b4096\b.*\b512\b"),
        ({"append_eos": True}, ModelError, r"\bappend_eos\b.*\bEOS\b"),
    ],
)
def test_a_written_spec_that_the_weights_cannot_serve_is_refused(tiny_model, change, error, message):
    folder = tiny_model("bert")
    spec = Encoder.from_pretrained(folder).spec
    (folder / "spec.json").write_text(dataclasses.replace(spec, **change).to_json())
    if error is None:
        with pytest.raises(InputError, match=r"\bdimension\b.*\b128\b.*\b64\b"):
            Encoder.from_pretrained(folder)
    else:
        with pytest.raises(error, match=message):
            Encoder.from_pretrained(folder)


def test_damaged_files_are_named(tiny_model):
    folder = tiny_model("bert")
    whole = (folder / "config.json").read_text()
    (folder / "config.json").write_text(whole[:-9])
    with pytest.raises(ModelError, match=r"config\.json.*\bJSON\b.*\bline\b"):
        Encoder.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(json.loads(whole) | {"model_type": "no-such-type"}))
    with pytest.raises(ModelError, match=r"no-such-type|hidden_size"):
        Encoder.from_pretrained(folder)
    (folder / "config.json").write_text(whole)
    (folder / "spec.json").write_text("{")
    with pytest.raises(InputError, match=r"spec\.json.*\bline 1\b"):
        Encoder.from_pretrained(folder)
    (folder / "spec.json").unlink()
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(ModelError, match=r"\bheader\b.*\bsafetensors\b"):
        Encoder.from_pretrained(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"\btokenizer\.json"):
        Encoder.from_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"\btokenizer\.json"):
        Encoder.from_pretrained(folder)
