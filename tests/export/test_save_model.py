"""Exported folders give the encoder's vectors in the programs that they are for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reasonembed_rag import Encoder, EncoderSettings
from reasonembed_rag.errors import InputError, MissingDependencyError, ModelError
from reasonembed_rag.export import save_model

QUERIES = ["why do cells divide?", "  default parameter\nvalues  ", "x"]
DOCUMENTS = ["the quick brown fox jumps over the lazy dog", "append " * 400, "Ünïcödé 日本語", " led by a space"]
KINDS = ["bert", "mpnet", "modernbert", "qwen3", "llama", "gemma"]


def least_cosine(got, wanted):
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    return float(((got * wanted).sum(axis=1) / norms).min())


@pytest.fixture(scope="session")
def lora(tmp_path_factory):
    """Write a random LoRA adapter for a decoder's attention: lora(folder)."""

    def write(base):
        folder = tmp_path_factory.mktemp("lora")
        generator = np.random.default_rng(0)
        stored = load_file(base / "model.safetensors")
        weights = {}
        for name, tensor in stored.items():
            if name.endswith(("q_proj.weight", "v_proj.weight")):
                module = "base_model.model." + name.removeprefix("model.").removesuffix(".weight")
                sizes = {"A": (4, tensor.shape[1]), "B": (tensor.shape[0], 4)}
                for side, shape in sizes.items():
                    weights[f"{module}.lora_{side}.weight"] = generator.standard_normal(shape).astype(np.float32) * 0.2
        save_file(weights, folder / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "lora_alpha": 8, "r": 4, "base_model_name_or_path": str(base)}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return folder

    return write


def assert_equal_vectors(encoder, folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    queries = model.encode_query(QUERIES, batch_size=2)
    documents = model.encode_document(DOCUMENTS, batch_size=2)
    for got, wanted in ((queries, encoder.encode_queries(QUERIES)), (documents, encoder.encode_documents(DOCUMENTS))):
        assert least_cosine(got, wanted) >= 0.999999
        assert np.linalg.norm(got, axis=1) == pytest.approx(np.linalg.norm(wanted, axis=1), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_sentence_transformers_gives_the_encoders_vectors(tiny_model, tmp_path, kind):
    encoder = Encoder.from_pretrained(tiny_model(kind), max_query_length=60, max_document_length=90)
    encoder.save(tmp_path / "out")
    assert_equal_vectors(encoder, tmp_path / "out")
    assert_equal_vectors(Encoder.from_pretrained(tmp_path / "out"), tmp_path / "out")


def test_a_merged_adapter_gives_the_encoders_vectors(tiny_model, tmp_path, lora):
    base = tiny_model("qwen3")
    adapter = lora(base)
    encoder = Encoder.from_pretrained(base, adapter=adapter)
    encoder.save(tmp_path / "merged")
    assert_equal_vectors(encoder, tmp_path / "merged")
    plain = Encoder.from_pretrained(base)
    assert least_cosine(plain.encode_documents(DOCUMENTS), encoder.encode_documents(DOCUMENTS)) < 0.99
    named = Encoder.from_pretrained(base, adapter={"own": str(adapter)}).with_adapter("own")
    named.save(tmp_path / "named")
    assert (tmp_path / "named" / "model.safetensors").read_bytes() == (
        tmp_path / "merged" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("name", ["default", "default-large"])
def test_the_default_models_are_exported_with_their_cards(tmp_path, name):
    encoder = Encoder.from_pretrained(name)
    encoder.save(tmp_path / "out")
    assert_equal_vectors(encoder, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "base_model: sentence-transformers/all-" in card
    own = "default" if name == "default" else "default_large"
    assert "MITRE" in (tmp_path / "out" / "origin" / f"1-{own}" / "README.md").read_text()


def test_eos_that_only_the_spec_asks_for_is_appended(tiny_model, tmp_path):
    folder = tiny_model("qwen3")
    encoder = Encoder.from_pretrained(folder)
    spec = json.loads(encoder.spec.to_json()) | {"append_eos": True}
    (folder / "spec.json").write_text(json.dumps(spec))
    ending = Encoder.from_pretrained(folder)
    assert least_cosine(ending.encode_queries(QUERIES), encoder.encode_queries(QUERIES)) < 0.99
    ending.save(tmp_path / "out")
    assert_equal_vectors(ending, tmp_path / "out")


def test_a_truncated_dimension_and_mean_without_the_prompt_are_kept(tiny_model, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = tiny_model("bert", pooling="mean")
    spec = json.loads(Encoder.from_pretrained(folder).spec.to_json())
    changed = {"pool_prompt": False, "document_template": "append: {text}"}
    (folder / "spec.json").write_text(json.dumps(spec | changed))
    encoder = Encoder.from_pretrained(folder, truncate_dim=16)
    encoder.save(tmp_path / "out")
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu", local_files_only=True)
    got = model.encode_document(DOCUMENTS, normalize_embeddings=True)
    assert got.shape == (4, 16)
    assert least_cosine(got, encoder.encode_documents(DOCUMENTS)) >= 0.999999


@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "cls"), ("mpnet", "mean"), ("distilbert", "mean"), ("modernbert", "cls")]
)
def test_the_onnx_file_gives_the_states_that_servers_pool(tiny_model, tmp_path, kind, pooling):
    import onnxruntime
    from transformers import AutoTokenizer

    encoder = Encoder.from_pretrained(tiny_model(kind, pooling=pooling), backend="onnx")
    encoder.save(tmp_path / "out", kind="onnx")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(
        DOCUMENTS, padding=True, truncation=True, max_length=encoder.spec.max_document_length, return_tensors="np"
    )
    inputs = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    session = onnxruntime.InferenceSession(tmp_path / "out" / "onnx" / "model.onnx")
    (states,) = session.run(["last_hidden_state"], inputs)
    mask = inputs["attention_mask"][..., None]
    pooled = states[:, 0] if pooling == "cls" else (states * mask).sum(axis=1) / mask.sum(axis=1)
    assert least_cosine(pooled, encoder.encode_documents(DOCUMENTS)) >= 0.999999


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_rounded_as_torch_rounds_them(tiny_model, tmp_path, dtype):
    import torch
    from safetensors.torch import load_file as load_torch

    folder = tiny_model("qwen3")
    save_model(EncoderSettings(model=str(folder)), tmp_path / "out", dtype=dtype)
    got, wanted = (load_torch(path / "model.safetensors") for path in (tmp_path / "out", folder))
    assert got.keys() == wanted.keys()
    assert all(torch.equal(got[name], wanted[name].to(getattr(torch, dtype))) for name in got)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype


def test_weights_in_several_files_are_exported_file_by_file(tiny_model, tmp_path, lora):
    from transformers import AutoModel

    whole = tiny_model("qwen3")
    parts = tmp_path / "parts"
    AutoModel.from_pretrained(whole).save_pretrained(parts, max_shard_size="100KB")
    for path in whole.glob("tokenizer*"):
        (parts / path.name).write_bytes(path.read_bytes())
    assert len(list(parts.glob("*.safetensors"))) > 1
    encoder = Encoder.from_pretrained(parts, adapter=lora(whole))
    encoder.save(tmp_path / "out")
    assert_equal_vectors(encoder, tmp_path / "out")


def test_a_killed_export_leaves_no_folder_and_a_failed_one_keeps_the_old(tiny_model, tmp_path, monkeypatch):
    from reasonembed_rag.export import model

    settings = EncoderSettings(model=str(tiny_model("bert", pooling="mean")))
    save_model(settings, tmp_path / "out")
    before = {path.name for path in (tmp_path / "out").iterdir()}

    def stop(*_args, **_more):
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "write_card", stop)
    for name in ("out", "new"):
        with pytest.raises(KeyboardInterrupt):
            save_model(settings, tmp_path / name, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == before


def test_a_folder_with_files_is_refused(tiny_model, tmp_path):
    settings = EncoderSettings(model=str(tiny_model("bert", pooling="mean")))
    (tmp_path / "note.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=str(tmp_path)):
            save_model(settings, tmp_path, overwrite=overwrite)
    assert (tmp_path / "note.txt").read_text() == "mine"
    with pytest.raises(InputError, match=r"note\.txt"):
        save_model(settings, tmp_path / "note.txt")


def test_what_the_layout_cannot_express_is_refused(tiny_model, tmp_path):
    folder = tiny_model("qwen3")
    spec = json.loads(Encoder.from_pretrained(folder).spec.to_json())
    (folder / "spec.json").write_text(json.dumps(spec | {"document_template": "{text} end"}))
    with pytest.raises(InputError, match="' end'"):
        save_model(EncoderSettings(model=str(folder)), tmp_path / "out")
    (folder / "spec.json").write_text(json.dumps(spec | {"attention": "bidirectional"}))
    with pytest.raises(ModelError, match="bidirectional"):
        save_model(EncoderSettings(model=str(folder)), tmp_path / "out")
    (folder / "spec.json").unlink()
    with pytest.raises(ModelError, match="optimum-cli"):
        save_model(EncoderSettings(model=str(folder)), tmp_path / "out", kind="onnx")
    with pytest.raises(ModelError, match="mpnet"):
        save_model(EncoderSettings(model=str(tiny_model("mpnet"))), tmp_path / "out", kind="gguf-note")
    with pytest.raises(InputError, match="gguf"):
        save_model(EncoderSettings(model=str(folder)), tmp_path / "out", kind="gguf")
    with pytest.raises(InputError, match="int8"):
        save_model(EncoderSettings(model=str(folder)), tmp_path / "out", dtype="int8")
    assert not list(tmp_path.iterdir())


def test_openvino_is_asked_for_before_work(tiny_model, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match="openvino"):
        save_model(EncoderSettings(model=str(tiny_model("bert"))), tmp_path / "out", kind="openvino")
    assert not list(tmp_path.iterdir())


def test_the_note_for_llama_cpp_names_pooling_and_prompts(tiny_model, tmp_path):
    save_model(EncoderSettings(model=str(tiny_model("qwen3"))), tmp_path / "out", kind="gguf-note")
    note = (tmp_path / "out" / "GGUF.md").read_text()
    assert "--pooling last" in note
    assert r"\nQuery: " in note
