"""shared_encoder: one model for equal settings, loaded once, for every caller."""

from __future__ import annotations

import asyncio
import threading
import warnings

import numpy as np
import pytest

import reasonembed_stores
from reasonembed_rag import deprecation
from reasonembed_rag.encoder.encoder import Encoder
from reasonembed_rag.encoder.remote import RemoteEncoder
from reasonembed_rag.encoder.shared import EncoderSettings, SharedEncoder, share_embedder, shared_encoder
from reasonembed_rag.errors import InputError, ModelError
from reasonembed_rag.protocols import AdapterEmbedder, AsyncEmbedder, Embedder
from reasonembed_rag.spec import EmbeddingSpec

SPEC = EmbeddingSpec(
    model="served", pooling="mean", attention="bidirectional", max_query_length=9, max_document_length=9, dimension=4
)


@pytest.fixture
def folder(tiny_model):
    return str(tiny_model("qwen3"))


def test_equal_settings_share_one_encoder_and_others_do_not(folder):
    one = shared_encoder(EncoderSettings(model=folder, device=["cpu", "cpu"]))
    assert one is shared_encoder(EncoderSettings(model=folder, device=("cpu", "cpu")))
    assert one is not shared_encoder(EncoderSettings(model=folder, device=("cpu", "cpu"), dtype="int8"))


def test_nothing_is_loaded_before_the_first_use_and_a_failed_load_is_tried_again(tmp_path, folder):
    missing = shared_encoder(EncoderSettings(model=str(tmp_path / "later")))
    with pytest.raises(ModelError):
        _ = missing.spec
    (tmp_path / "later").symlink_to(folder)
    assert missing.dimension == 64


def test_it_is_an_embedder_with_async_methods_and_adapters(words):
    for shared in (shared_encoder(EncoderSettings(model="words")), SharedEncoder(lambda: words)):
        assert isinstance(shared, Embedder)
        assert isinstance(shared, AsyncEmbedder)
        assert isinstance(shared, AdapterEmbedder)


async def test_every_way_gives_the_vectors_of_the_encoder(folder):
    encoder, shared = Encoder.from_pretrained(folder), shared_encoder(EncoderSettings(model=folder))
    texts = ["why?", "a longer question about lists"]
    expected = encoder.encode_queries(texts, task="biology")
    assert np.array_equal(shared.encode_queries(texts, task="biology"), expected)
    assert np.allclose(await shared.aencode_queries(texts, task="biology"), expected, atol=1e-6)
    assert np.array_equal(shared.encode_documents(texts), encoder.encode_documents(texts))
    assert np.allclose(await shared.aencode_documents(texts), encoder.encode_documents(texts), atol=1e-6)


async def test_an_embedder_without_async_methods_runs_in_one_thread_off_the_loop(words):
    threads = set()
    plain = words.encode_queries
    words.encode_queries = lambda *args, **kwargs: threads.add(threading.current_thread()) or plain(*args, **kwargs)
    shared = shared_encoder(EncoderSettings(model="words"))
    both = await asyncio.gather(shared.aencode_queries(["a"]), shared.aencode_queries(["b"], instruction="find"))
    assert np.array_equal(both[0], plain(["a"]))
    assert np.array_equal(both[1], plain(["b"], instruction="find"))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


async def test_one_string_gives_one_vector_of_any_embedder(words):
    shared = shared_encoder(EncoderSettings(model="words"))
    assert np.array_equal(shared.encode_queries("a b", task="pony"), words.encode_queries(["a b"], task="pony")[0])
    assert np.array_equal(shared.encode_documents("a b"), words.encode_documents(["a b"])[0])
    assert np.array_equal(await shared.aencode_queries("a b"), words.encode_queries(["a b"])[0])
    assert np.array_equal(await shared.aencode_documents("a b"), words.encode_documents(["a b"])[0])
    assert {tuple(texts) for _, texts in words.calls} == {("a b",)}


async def test_an_adapter_is_refused_where_the_embedder_has_none(words):
    shared = shared_encoder(EncoderSettings(model="words"))
    for call in (shared.encode_queries, shared.encode_documents):
        with pytest.raises(InputError, match=r"words.*\badapter\b"):
            call(["a"], adapter="law")
    for call in (shared.aencode_queries, shared.aencode_documents):
        with pytest.raises(InputError, match=r"words.*\badapter\b"):
            await call(["a"], adapter="law")


def test_settings_beside_the_name_of_a_shared_embedder_are_refused(words):
    with pytest.raises(InputError, match="'words'"):
        shared_encoder(EncoderSettings(model="words", dtype="int8"))


def test_the_settings_of_a_server_give_its_remote_encoder():
    settings = EncoderSettings(model="served", base_url="http://localhost:8000/v1", server_spec=SPEC)
    assert isinstance(shared_encoder(settings).embedder, RemoteEncoder)
    assert shared_encoder(settings).spec == SPEC
    with pytest.raises(InputError, match=r"http://localhost:8000/v1.*\bserved\b"):
        Encoder.from_settings(settings)


def test_encoders_of_one_cache_folder_share_the_cache(folder, tmp_path):
    one, other = (
        Encoder.from_settings(EncoderSettings(model=folder, cache=tmp_path, token_budget=budget)) for budget in (9, 99)
    )
    vectors = one.encode_documents(["a", "b"])
    assert np.array_equal(other.encode_documents(["b", "a"]), vectors[::-1])
    assert other.tokens_encoded == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [("share_embedder", share_embedder), ("get_engine", shared_encoder), ("ModelChoice", EncoderSettings)],
)
def test_old_names_of_the_stores_warn_once_and_are_the_new_ones(monkeypatch, old, new):
    monkeypatch.setattr(deprecation, "_warned", set())
    with pytest.warns(DeprecationWarning, match=rf"reasonembed_stores\.{old}\b.*encoder\.{new.__name__}"):
        assert getattr(reasonembed_stores, old) is new
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(reasonembed_stores, old) is new
