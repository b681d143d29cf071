"""The encoder under an event loop, and with a cache of vectors: equal to plain calls, whatever runs concurrently."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest
from blockbuster import blockbuster_ctx

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import VectorCache, collect_truncations
from reasonembed_rag.errors import BackendError, InputError

TEXTS = [f"text {row} " + "lazy dog " * (row % 5) for row in range(24)]
MIB = 1 << 20


@pytest.fixture(scope="module")
def folder(tiny_model):
    return tiny_model("qwen3")


@pytest.fixture
def encoder(folder):
    with Encoder.from_pretrained(folder) as opened:
        yield opened


def packs_of(encoder, monkeypatch):
    """Record the number of texts in each run of the engine."""
    sizes, run = [], encoder._engine.run

    def recorded(tokens, packs, *, adapter):
        sizes.append(len(tokens.lengths))
        return run(tokens, packs, adapter=adapter)

    monkeypatch.setattr(encoder._engine, "run", recorded)
    return sizes


def equal(a, b):
    return np.abs(a - b).max() < 1e-5


@pytest.mark.parametrize("cached", [False, True])
async def test_concurrent_calls_block_no_loop_share_forwards_and_equal_plain_ones(
    folder, tmp_path, monkeypatch, cached
):
    cache = VectorCache(tmp_path, max_bytes=MIB) if cached else None
    with Encoder.from_pretrained(folder) as plain, Encoder.from_pretrained(folder, cache=cache) as encoder:
        sizes = packs_of(encoder, monkeypatch)
        for _ in range(2):
            with blockbuster_ctx():
                queries, documents = await asyncio.gather(
                    asyncio.gather(*(encoder.aencode_queries([text], task="biology") for text in TEXTS)),
                    asyncio.gather(*(encoder.aencode_documents([text]) for text in TEXTS)),
                )
            assert equal(np.concatenate(queries), plain.encode_queries(TEXTS, task="biology"))
            assert equal(np.concatenate(documents), plain.encode_documents(TEXTS))
        assert len(sizes) < 2 * len(TEXTS)  # fewer than one per call
        if cached:
            assert sum(sizes) == 2 * len(TEXTS)  # the second round came from the cache


async def test_calls_with_different_instructions_and_roles_do_not_mix(encoder):
    calls = [
        encoder.aencode_queries(TEXTS[:2], task="biology"),
        encoder.aencode_queries(TEXTS[:2], instruction="Find code."),
        encoder.aencode_queries(TEXTS[:2]),
        encoder.aencode_documents(TEXTS[:2]),
        encoder.aencode_queries([]),
    ]
    got = await asyncio.gather(*calls)
    assert equal(got[0], encoder.encode_queries(TEXTS[:2], task="biology"))
    assert equal(got[1], encoder.encode_queries(TEXTS[:2], instruction="Find code."))
    assert equal(got[2], encoder.encode_queries(TEXTS[:2]))
    assert equal(got[3], encoder.encode_documents(TEXTS[:2]))
    assert got[4].shape == (0, 64)


async def test_cancelled_and_failing_callers_do_not_affect_others(encoder, monkeypatch):
    gate, entered, run = threading.Event(), threading.Event(), encoder._engine.run

    def slow(tokens, packs, *, adapter):
        entered.set()
        assert gate.wait(20)
        if any(27 in ids for ids in tokens.rows(np.arange(len(tokens.lengths)))):
            raise BackendError("this text brings the engine down")
        return run(tokens, packs, adapter=adapter)

    bad = encoder._tokenizer._backend.decode([27])
    assert 27 in encoder._tokenizer([bad], before="", after="", max_length=9).ids
    texts = ["why", "fox", bad, "dog"]
    assert not any(
        27 in encoder._tokenizer([t], before="", after="", max_length=9).ids for t in ("first", "why", "fox", "dog")
    )
    monkeypatch.setattr(encoder._engine, "run", slow)
    first = asyncio.create_task(encoder.aencode_documents(["first"]))
    await asyncio.to_thread(entered.wait, 20)
    tasks = [asyncio.create_task(encoder.aencode_documents([text])) for text in texts]
    await asyncio.sleep(0)
    tasks[0].cancel()
    first.cancel()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[2], BackendError)
    for row in (1, 3):
        assert equal(results[row], encoder.encode_documents([texts[row]]))


async def test_an_encoder_closed_meanwhile_finishes_pending_calls_and_refuses_later_ones(folder):
    encoder = Encoder.from_pretrained(folder)
    asked = [asyncio.create_task(encoder.aencode_documents([text])) for text in TEXTS]
    await asyncio.sleep(0)
    await asyncio.to_thread(encoder.close)
    assert all(vectors.shape == (1, 64) for vectors in await asyncio.gather(*asked))
    with pytest.raises(BackendError, match="closed"):
        await encoder.aencode_documents(["a"])
    with pytest.raises(BackendError, match="closed"):
        encoder.encode_documents(["a"])


def test_threads_share_an_encoder(encoder):
    expected, failures = encoder.encode_documents(TEXTS), []

    def work(start):
        got = [encoder.encode_documents(TEXTS[start:]) for _ in range(3)]
        failures.extend(start for vectors in got if not equal(vectors, expected[start:]))

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 7, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


async def test_an_unreferenced_encoder_releases_its_model(folder):
    encoder = Encoder.from_pretrained(folder)
    await encoder.aencode_documents(["a"])
    engine = weakref.ref(encoder._engine)
    del encoder
    gc.collect()
    assert engine() is None


async def test_concurrent_calls_of_one_adapter_share_forwards_and_are_counted(folder, tmp_path, monkeypatch):
    peft = pytest.importorskip("peft")
    from transformers import AutoModel

    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(AutoModel.from_pretrained(folder), config).save_pretrained(tmp_path)
    with Encoder.from_pretrained(folder, adapter={"law": str(tmp_path)}) as encoder:
        assert encoder.with_adapter("law") is encoder.with_adapter("law")
        assert encoder.with_adapter("law").with_adapter(None) is encoder
        sizes = packs_of(encoder, monkeypatch)
        before = set(threading.enumerate())
        await asyncio.gather(*(encoder.aencode_queries([text], adapter="law") for text in TEXTS))
        assert len(sizes) < len(TEXTS)
        assert encoder.tokens_encoded == encoder.with_adapter("law").tokens_encoded > 0
        names = [thread.name for thread in set(threading.enumerate()) - before]
        assert names.count("reasonembed-coalescer") == 1


def test_a_cache_distinguishes_roles_instructions_adapters_dtypes_and_lengths(folder, tmp_path):
    """Every call equals the one without a cache, though all write to one folder."""
    texts = ["the lazy dog " * 5, "why?"]
    for _ in range(2):
        for settings in (
            {},
            {"dtype": "bfloat16"},
            {"max_document_length": 8, "max_query_length": 40},
            {"truncate_dim": 16},
        ):
            plain = Encoder.from_pretrained(folder, **settings)
            with VectorCache(tmp_path, max_bytes=MIB) as cache:
                kept = Encoder.from_pretrained(folder, cache=cache, **settings)
                assert equal(kept.encode_documents(texts), plain.encode_documents(texts))
                for words in ({}, {"task": "biology"}, {"instruction": "Find code."}):
                    assert equal(kept.encode_queries(texts, **words), plain.encode_queries(texts, **words))


def test_a_cached_call_computes_only_what_is_new_and_counts_only_that(folder, tmp_path):
    with VectorCache(tmp_path, max_bytes=MIB) as cache:
        encoder = Encoder.from_pretrained(folder, cache=cache, max_document_length=8)
        with collect_truncations() as counts:
            encoder.encode_documents(["fox", "lazy dog " * 20])
        assert counts.by_length == {8: 1}
        before = encoder.tokens_encoded
        with collect_truncations() as counts:
            encoder.encode_documents(["fox", "lazy dog " * 20, "fox"])
        assert encoder.tokens_encoded == before
        assert counts.by_length == {}
        with pytest.raises(InputError):
            encoder.encode_documents(["fox", None])
