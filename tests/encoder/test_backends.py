"""Which engine runs a model, and that the vectors of both are equal."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import EncoderSettings, engines
from reasonembed_rag.errors import InputError, MissingDependencyError

TEXTS = ["why?", "the quick brown fox", "a list keeps growing " * 3, "lazy dog " * 24, "lazy dog " * 25, "x", ""]


@pytest.fixture(scope="module")
def bert(tiny_model):
    return str(tiny_model("bert", pooling="mean"))


@pytest.mark.parametrize("name", ["default", "default-large-base"])
def test_both_engines_give_the_vectors_of_a_model_of_ours(name):
    torch, onnx = (Encoder.from_pretrained(name, backend=backend) for backend in ("torch", "onnx"))
    assert (torch.spec.backend, onnx.spec.backend) == ("torch", "onnx")
    assert torch.spec.space() == onnx.spec.space()
    for method in ("encode_documents", "encode_queries"):
        texts = TEXTS[:6]
        assert np.abs(getattr(torch, method)(texts) - getattr(onnx, method)(texts)).max() < 1e-5


@pytest.mark.parametrize("targets", [("query", "value"), ("dense",)])
def test_a_merged_adapter_gives_the_same_vectors_on_both_engines(bert, tmp_path, targets):
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModel

    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=[*targets], init_lora_weights=False)
    peft.get_peft_model(AutoModel.from_pretrained(bert), config).save_pretrained(tmp_path)
    first, second = (Encoder.from_pretrained(bert, adapter=tmp_path, backend=backend) for backend in ("torch", "onnx"))
    expected = first.encode_documents(TEXTS)
    assert np.abs(second.encode_documents(TEXTS) - expected).max() < 1e-5
    without = Encoder.from_pretrained(bert, backend="onnx").encode_documents(TEXTS)
    assert np.abs(without - expected).max() > 1e-3


def test_auto_takes_onnx_for_encoders_and_torch_for_what_only_torch_can_run(bert, tiny_model, monkeypatch):
    assert Encoder.from_pretrained(bert).spec.backend == "onnx"
    assert Encoder.from_pretrained(bert, device="cpu", dtype="float32").spec.backend == "onnx"
    assert Encoder.from_pretrained(bert, dtype="bfloat16").spec.backend == "torch"
    assert Encoder.from_pretrained(str(tiny_model("qwen3"))).spec.backend == "torch"
    monkeypatch.setattr(engines, "_has_onnx", lambda: False)
    assert Encoder.from_pretrained(bert).spec.backend == "torch"


def test_a_gpu_is_preferred_unless_onnx_is_asked_for(bert, monkeypatch):
    chosen = []
    monkeypatch.setattr(engines, "has_gpu", lambda: True)
    monkeypatch.setattr(engines, "_on_torch", lambda settings, source, sharing: chosen.append("torch"))
    monkeypatch.setattr(engines, "_on_onnx", lambda settings, source, sharing: chosen.append("onnx"))
    for settings in ({}, {"device": "cpu"}, {"backend": "onnx"}):
        engines.load_engine(EncoderSettings(model=bert, **settings))
    assert chosen == ["torch", "onnx", "onnx"]


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("qwen3", {}, "qwen3"),
        ("bert", {"dtype": "float16"}, "float16"),
        ("bert", {"adapter": {"law": "me/law"}}, "adapters"),
        ("bert", {"device": "cuda"}, "cuda"),
    ],
)
def test_onnx_for_what_it_cannot_run_is_refused_and_names_torch(tiny_model, kind, settings, reason):
    with pytest.raises(InputError, match=rf"(?s)onnx.*{reason}.*torch"):
        Encoder.from_pretrained(str(tiny_model(kind)), backend="onnx", **settings)


def test_a_decoder_without_torch_gives_the_extra_to_install(tiny_model, monkeypatch):
    folder = str(tiny_model("qwen3"))
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"reasonembed-rag\[torch\]") as raised:
        Encoder.from_pretrained(folder)
    assert folder in str(raised.value)


_SEEN = """
import json, sys
{work}
print(json.dumps(sorted({{"torch", "transformers", "scipy", "pandas", "datasets", "matplotlib"}} & set(sys.modules))))
"""
_INDEX = """
from reasonembed_cli.app import main
sys.argv = ["reasonembed", {arguments}]
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
"""
_WORKS = {
    "encoder": "from reasonembed_rag import Encoder; Encoder.from_pretrained('default').encode_queries('why?')",
    "langchain": "from langchain_reasonembed import ReasonEmbedEmbeddings as E; E().embed_query('why?')",
    "llama_index": (
        "from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding as E; E().get_query_embedding('why?')"
    ),
    "index": _INDEX.format(arguments="'index', 'docs', '--to', 'docs.index'"),
    "search": _INDEX.format(arguments="'search', 'docs.index', 'why do cells divide?'"),
}


def test_the_default_model_is_used_without_torch_and_transformers(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "cells.md").write_text("# Cells\n\nCells divide to grow.\n")
    for name, work in _WORKS.items():
        done = subprocess.run(
            [sys.executable, "-c", _SEEN.format(work=work)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == [], name
