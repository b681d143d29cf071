"""The encoder on several devices against the encoder on one: two processes, each with a tiny model."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import VectorCache
from reasonembed_rag.errors import BackendError, InputError

TEXTS = [f"text {row} " + "lazy dog " * (row % 9) for row in range(40)]


@pytest.fixture(scope="module")
def paths(tiny_model, tmp_path_factory):
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModel

    folder, lora = tiny_model("qwen3"), tmp_path_factory.mktemp("lora")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "up_proj"], init_lora_weights=False)
    peft.get_peft_model(AutoModel.from_pretrained(folder), config).save_pretrained(lora)
    return folder, lora


@pytest.fixture(scope="module")
def one(paths):
    return Encoder.from_pretrained(paths[0], adapter={"law": str(paths[1])}, device="cpu")


@pytest.fixture(scope="module")
def two(paths):
    with Encoder.from_pretrained(
        paths[0], adapter={"law": str(paths[1])}, device=["cpu", "cpu"], token_budget=64
    ) as both:
        yield both


def equal(a, b):
    return np.abs(a - b).max() < 1e-5


def test_an_encoder_on_two_devices_has_the_same_spec_and_adapters(one, two):
    assert two.spec == one.spec
    assert two.adapters == ("law",)
    assert two.with_adapter("law").spec == one.with_adapter("law").spec


def test_two_devices_give_the_vectors_of_one(one, two):
    for adapter in (None, "law", None):
        assert equal(two.encode_documents(TEXTS, adapter=adapter), one.encode_documents(TEXTS, adapter=adapter))
        queries = {"task": "biology", "adapter": adapter}
        assert equal(two.encode_queries(TEXTS, **queries), one.encode_queries(TEXTS, **queries))
    assert two.encode_documents([]).shape == (0, 64)


async def test_async_calls_use_the_devices_too(one, two):
    assert equal(await two.aencode_queries(TEXTS[:3], adapter="law"), one.encode_queries(TEXTS[:3], adapter="law"))


def test_bad_texts_are_refused_and_the_devices_stay_usable(one, two):
    with pytest.raises(InputError, match=r"texts\[1\].*\bNoneType\b"):
        two.encode_documents(["a", None])
    with pytest.raises(InputError, match=r"\badapter\b.*'physics'.*\blaw\b"):
        two.encode_documents(["a"], adapter="physics")
    assert equal(two.encode_documents(TEXTS[:3]), one.encode_documents(TEXTS[:3]))


def test_a_killed_worker_is_an_error_and_nothing_hangs(paths, tmp_path):
    with VectorCache(tmp_path, max_bytes=1 << 20) as cache:
        encoder = Encoder.from_pretrained(paths[0], device=["cpu"], cache=cache)
        kept = encoder.encode_documents(TEXTS[:5])
        os.kill(encoder._engine._workers[0].process.pid, signal.SIGKILL)
        with pytest.raises(BackendError, match=r"\bcpu\b.*\bSIGKILL\b"):
            encoder.encode_documents(TEXTS)
        assert np.array_equal(encoder.encode_documents(TEXTS[:5]), kept)  # from the cache
        encoder.close()


def test_a_missing_device_is_named_and_leaves_no_process(paths):
    import multiprocessing

    before = set(multiprocessing.active_children())
    with pytest.raises(InputError, match=r"\bdevice\b.*'warp:0'.*\bworker\b.*\bwarp:0\b"):
        Encoder.from_pretrained(paths[0], device=["warp:0"])
    assert set(multiprocessing.active_children()) == before
