"""The self-check at load: a forward that disagrees with transformers is not used, and the log says why."""

from __future__ import annotations

import dataclasses
import logging
import re

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.backbone.architectures import read_blueprint
from reasonembed_rag.backbone.check_texts import self_check_sequences
from reasonembed_rag.backbone.linears import make_fast
from reasonembed_rag.backbone.loading import load_model
from reasonembed_rag.backbone.packed import PackedForward
from reasonembed_rag.backbone.padded import PaddedForward
from reasonembed_rag.backbone.selfcheck import disagreement
from reasonembed_rag.backbone.settings import EncoderSettings
from reasonembed_rag.encoder import local as engine
from reasonembed_rag.encoder.local import LocalEngine, padded_forward
from reasonembed_rag.errors import ModelError

TEXTS = ["a list keeps growing", "the lazy dog " * 30, "x"]


class Crooked(PackedForward):
    """A packed forward with modified results."""

    def __init__(self, blueprint, *, pooling, bend):
        super().__init__(blueprint, pooling=pooling)
        self.bend = bend

    def __call__(self, sequences, *, skip=0, prefix=None):
        return self.bend(super().__call__(sequences, skip=skip, prefix=prefix), prefix is not None)


def pair(loaded, bend=lambda vectors, behind_prefix: vectors):
    blueprint = read_blueprint(loaded.backbone, causal=True, make=make_fast)
    return Crooked(blueprint, pooling="last", bend=bend), padded_forward(loaded)


@pytest.fixture(scope="module")
def loaded(tiny_model):
    return load_model(EncoderSettings(model=str(tiny_model("qwen3")), device="cpu"))


def test_the_self_check_separates_equal_forwards_from_slightly_wrong_ones(loaded):
    sequences = self_check_sequences(loaded.tokenizer, loaded.spec)
    assert disagreement(*pair(loaded), sequences, floor=0.9999) is None
    noise = torch.randn(len(sequences), 64, generator=torch.Generator().manual_seed(0))
    off = pair(
        loaded, lambda vectors, _: vectors + 0.03 * vectors.norm(dim=1, keepdim=True) / 8 * noise[: len(vectors)]
    )
    assert disagreement(*off, sequences, floor=0.9999).startswith("cosine 0.999")


@pytest.mark.parametrize("at", ["pack", "prefix"])
def test_vectors_that_are_not_finite_never_pass_the_self_check(loaded, at):
    def bend(vectors, behind_prefix):
        return vectors * torch.nan if behind_prefix == (at == "prefix") else vectors

    sequences = self_check_sequences(loaded.tokenizer, loaded.spec)
    assert "cosine nan" in disagreement(*pair(loaded, bend), sequences, floor=0.9999)


def test_a_packed_forward_that_fails_is_not_used_and_the_log_says_why(tiny_model, monkeypatch, caplog):
    folder = str(tiny_model("qwen3", seed=7))
    expected = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    monkeypatch.setattr(engine, "is_verified", lambda spec, device: False)
    monkeypatch.setattr("reasonembed_rag.backbone.loading.is_verified", lambda spec, device: False)

    def broken(*_, **__):
        raise RuntimeError("this kernel wants heads of 8, 16 or 32\nat some line")

    monkeypatch.setattr(PackedForward, "__call__", broken)
    encoder = Encoder.from_pretrained(folder)
    assert not encoder._engine.packed
    [message] = caplog.messages  # only the error's first line
    assert re.search(rf"{re.escape(folder)}\b.*RuntimeError: this kernel wants heads of 8, 16 or 32$", message)
    assert np.abs(encoder.encode_documents(TEXTS) - expected).max() < 1e-5


def test_a_model_is_checked_once_and_again_after_its_weights_change(tiny_model, monkeypatch):
    checks = []
    monkeypatch.setattr(engine, "disagreement", lambda *_, **__: checks.append("checked"))
    folder, other = tiny_model("llama", seed=11), tiny_model("llama", seed=12)
    for _ in range(2):
        assert Encoder.from_pretrained(str(folder))._engine.packed
    assert checks == ["checked"]
    Encoder.from_pretrained(str(folder), dtype="bfloat16")
    assert len(checks) == 2
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    Encoder.from_pretrained(str(folder))
    assert len(checks) == 3


def test_a_failed_self_check_is_not_recorded_as_passed(tiny_model, monkeypatch):
    folder = str(tiny_model("llama", seed=13))
    real = engine.disagreement
    monkeypatch.setattr(engine, "disagreement", lambda *_, **__: "no")
    assert not Encoder.from_pretrained(folder)._engine.packed
    monkeypatch.setattr(engine, "disagreement", real)
    assert Encoder.from_pretrained(folder)._engine.packed


def test_a_cache_that_cannot_be_written_only_repeats_the_check(tiny_model, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path / "file"))
    assert Encoder.from_pretrained(str(tiny_model("bert")), backend="torch")._engine.packed


def test_a_deep_model_in_bfloat16_runs_packed_if_as_close_to_float32_as_transformers(tiny_model):
    """Two correct forwards differ by more than the floor there; a wrong mask is still detected."""
    folder = tiny_model("qwen3", num_hidden_layers=24, seed=3)
    deep = load_model(EncoderSettings(model=str(folder), dtype="bfloat16", device="cpu"))
    sequences = self_check_sequences(deep.tokenizer, deep.spec)
    packed, padded = pair(deep)
    assert disagreement(packed, padded, sequences, floor=0.9999).startswith("cosine 0.99")
    exact = padded_forward(dataclasses.replace(deep, backbone=load_model(EncoderSettings(model=str(folder))).backbone))
    assert disagreement(packed, padded, sequences, floor=0.9999, exact=lambda: exact) is None
    wrong = PackedForward(read_blueprint(deep.backbone, causal=False, make=make_fast), pooling="last")
    assert disagreement(wrong, padded, sequences, floor=0.9999, exact=lambda: exact) is not None

    def coarse(vectors, _):
        return vectors + 0.2 * vectors.norm(dim=1, keepdim=True) / 8 * torch.ones_like(vectors)

    far = pair(deep, coarse)
    assert disagreement(*far, sequences, floor=0.9999, exact=lambda: exact) is not None


def test_the_backbone_keeps_its_number_format_after_a_float32_comparison(tiny_model, monkeypatch):
    monkeypatch.setitem(engine.FLOORS, "bfloat16", 0.9999999)
    loaded = load_model(EncoderSettings(model=str(tiny_model("qwen3", num_hidden_layers=8)), dtype="bfloat16"))
    assert LocalEngine(loaded).packed
    assert loaded.backbone.dtype == torch.bfloat16


def test_a_document_length_of_one_token_still_loads(tiny_model):
    encoder = Encoder.from_pretrained(str(tiny_model("qwen3", seed=4)), max_document_length=1)
    assert encoder._engine.packed
    assert np.isfinite(encoder.encode_documents(["a b c", ""])).all()


def test_a_model_that_transformers_cannot_run_either_is_an_error_at_load(tiny_model, monkeypatch):
    def broken(*_, **__):
        raise KeyError("pixel_values")

    monkeypatch.setattr(PaddedForward, "__call__", broken)
    with pytest.raises(ModelError, match=r"\bDistilBertModel\b.*KeyError: 'pixel_values'"):
        Encoder.from_pretrained(
            str(tiny_model("distilbert", dim=64, n_layers=1, n_heads=4, hidden_dim=64)), backend="torch"
        )


def test_dtype_auto_logs_its_choice(tiny_model, monkeypatch, caplog):
    folder = str(tiny_model("bert"))
    with caplog.at_level(logging.INFO, logger="reasonembed_rag"):
        assert Encoder.from_pretrained(folder).spec.dtype == "float32"
    assert re.search(r"\bdtype\b.*\bauto\b.*\bfloat32\b.*\bcpu\b", caplog.text)
    from reasonembed_rag.backbone import loading

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert loading._dtype("auto", torch.device("cuda")) == "bfloat16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert loading._dtype("auto", torch.device("cuda")) == "float32"
