"""What is asked of the processor, and what follows where it cannot: simulated by oneDNN's own limit, or by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from reasonembed_rag import Encoder
from reasonembed_rag.backbone import linears, processor
from reasonembed_rag.backbone.linears import Int8Linear, OneDnnLinear, PlainLinear

TEXTS = ["a list keeps growing", "the lazy dog " * 20, "x"]

_ASK = """
import torch
from reasonembed_rag.backbone import linears, processor
torch.manual_seed(0)
weight, x = torch.randn(48, 64), torch.randn(9, 64)
exact = linears.PlainLinear(weight, None)(x)
narrow = linears.make_fast([torch.nn.Linear(64, 48).to(torch.bfloat16).requires_grad_(False)])(x.bfloat16())
eighth = linears.Int8Linear(weight, None)(x)
print(
    processor.emulates_bfloat16(),
    processor.prepacks(torch.float32),
    bool(narrow.isfinite().all()),
    float((eighth - exact).norm() / exact.norm()) < 0.01,
)
"""

can_simulate = pytest.mark.skipif(
    not torch.cpu._is_avx512_supported() or "ONEDNN_MAX_CPU_ISA" in os.environ,
    reason="the processor is an old one, or simulated already",
)


@pytest.fixture
def emulating(monkeypatch):
    """A processor that emulates bfloat16, and a product that takes 7.4 times as long in it; nothing was told yet."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    monkeypatch.setattr(processor, "bfloat16_slowdown", lambda: 7.4)
    processor.warn_of_emulation.cache_clear()
    yield
    processor.warn_of_emulation.cache_clear()


def notices(caplog):
    return [text for text in caplog.messages if "bfloat16" in text]


@can_simulate
@pytest.mark.parametrize("limit", ["SSE41", "AVX2", "AVX512_CORE", "AVX512_CORE_VNNI"])
def test_older_processors_emulate_bfloat16_and_every_product_is_right_on_them(limit):
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": limit, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True"] * 4, done.stderr


def test_explicit_bfloat16_is_right_where_it_is_emulated_and_warns_once_with_the_factor(tiny_model, emulating, caplog):
    folder = str(tiny_model("qwen3"))
    exact = Encoder.from_pretrained(folder).encode_documents(TEXTS)
    assert not notices(caplog)
    for _ in range(2):
        encoder = Encoder.from_pretrained(folder, dtype="bfloat16")
    assert encoder.spec.dtype == "bfloat16"
    assert (encoder.encode_documents(TEXTS) * exact).sum(1).min() >= 0.999
    (notice,) = notices(caplog)
    assert " 7.4 " in notice
    assert "dtype='float32'" in notice


def test_nothing_is_said_where_bfloat16_is_native_or_not_asked_for(tiny_model, emulating, monkeypatch, caplog):
    folder = str(tiny_model("bert"))
    assert Encoder.from_pretrained(folder).spec.dtype == "float32"
    monkeypatch.setattr("reasonembed_rag.backbone.loading.emulates_bfloat16", lambda: False)
    Encoder.from_pretrained(folder, dtype="bfloat16")
    assert not notices(caplog)


@pytest.mark.parametrize(
    ("flags", "limit", "emulated"),
    [
        ((True, True, True), "", False),
        ((True, True, True), "ALL", False),
        ((True, True, True), "AVX512_CORE_AMX", False),
        ((True, True, True), "avx512_core_vnni", True),
        ((True, True, False), "", True),  # AVX-512 of before 2020
        ((False, True, True), "AVX2", True),
        ((False, False, False), "", True),
        ((True, False, False), "", False),  # ARM, AVX-NE-CONVERT
    ],
)
def test_bfloat16_is_emulated_where_onednn_or_avx512_lacks_its_instructions(monkeypatch, flags, limit, emulated):
    supported, avx512, avx512_bfloat16 = flags
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bfloat16)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert processor.emulates_bfloat16() == emulated


def test_a_torch_that_cannot_tell_is_not_an_error(monkeypatch):
    for name in ("_is_avx512_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name)
    monkeypatch.delattr(torch, "_int_mm")
    processor.multiplies_int8.cache_clear()
    try:
        assert isinstance(processor.emulates_bfloat16(), bool)
        assert not processor.multiplies_int8()
    finally:
        processor.multiplies_int8.cache_clear()


def test_the_slowdown_is_a_ratio_of_times_and_measured_once():
    assert 0 < processor.bfloat16_slowdown() == processor.bfloat16_slowdown()


def test_no_onednn_product_is_built_where_onednn_refuses_the_number_format(monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("bf16 path needs the cpu support avx_ne_convert or avx512bw")

    processor.prepacks.cache_clear()
    linears._fastest.cache_clear()
    try:
        monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)
        assert linears._fastest("cpu", torch.bfloat16, 512) is PlainLinear
    finally:
        processor.prepacks.cache_clear()
        linears._fastest.cache_clear()


@pytest.fixture
def nothing_remembered(monkeypatch, tmp_path):
    """Let kinds of products be chosen anew, now and afterwards."""
    monkeypatch.setenv("REASONEMBED_CACHE", str(tmp_path))
    linears._fastest.cache_clear()
    yield
    linears._fastest.cache_clear()


def test_onednn_is_chosen_where_it_is_faster_and_torch_where_it_is_much_slower(nothing_remembered, monkeypatch):
    if not processor.prepacks(torch.float32):
        pytest.skip("this torch has no oneDNN")
    times = iter((0.5, 1.0, 1.5, 1.0))  # oneDNN's and torch's for each width
    monkeypatch.setattr(linears, "_least_time", lambda product: next(times))
    chosen = [linears._fastest("cpu", torch.float32, width) for width in (512, 1024)]
    assert chosen == [OneDnnLinear, PlainLinear]
    linears._fastest.cache_clear()  # as in another process: what was chosen is remembered, nothing is measured
    assert [linears._fastest("cpu", torch.float32, width) for width in (512, 1024)] == chosen
    assert next(times, None) is None


def test_a_choice_is_not_taken_over_by_another_number_of_threads(nothing_remembered, monkeypatch):
    times = iter(([1.0, 1.0], [9.0, 1.0]))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert not linears._remembered("a question", lambda: next(times), most=2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert linears._remembered("a question", lambda: next(times), most=2)
    assert linears._remembered("a question", lambda: next(times), most=2)


@pytest.fixture
def fresh_int8(nothing_remembered):
    """Let the 8-bit product be chosen anew, now and afterwards."""
    caches = (processor.multiplies_int8, linears._int8_product)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("trouble", ["overflows", "is refused", "is a plain loop"])
def test_int8_weights_give_the_same_products_where_8_bit_sums_cannot_be_had(fresh_int8, monkeypatch, trouble):
    """The oracle: whole numbers up to 127 on both sides, summed in 64 bits."""

    def broken(a, b):
        if trouble == "is refused":
            raise NotImplementedError("_int_mm")
        return (a.int() @ b.int()).clamp(max=2**15 if trouble == "overflows" else None)

    if trouble == "is a plain loop":
        times = iter((5.0, 1.0))
        monkeypatch.setattr(linears, "_least_time", lambda product: next(times))
    monkeypatch.setattr(torch, "_int_mm", broken)
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(48, 64, generator=generator), torch.randn(9, 64, generator=generator)
    (own, own_scale), (other, other_scale) = (
        ((one / (one.abs().amax(1, keepdim=True) / 127)).round().double(), one.abs().amax(1, keepdim=True) / 127)
        for one in (x, weight)
    )
    expected = (own @ other.T) * own_scale * other_scale.T
    got = Int8Linear(weight, None)(x)
    assert linears._int8_product() is linears._in_float32
    np.testing.assert_allclose(
        got, expected, rtol=4 * 2.0**-24, atol=0
    )  # the sums are exact; four roundings scale them
