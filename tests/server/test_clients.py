"""Clients that people use get the local encoder's vectors."""

from __future__ import annotations

import dataclasses

import numpy as np
import openai
import pytest
from running_server import running

from reasonembed_rag import Encoder, RemoteEncoder
from reasonembed_rag.encoder import EncoderSettings, RemoteSettings
from reasonembed_rag.errors import SpecMismatchError
from reasonembed_rag.tasks import TASKS
from reasonembed_server import ServerSettings

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

TEXTS = ["cells divide", "the lazy dog", "for item in range: append item", "cells"]
KEY = "unused"


@pytest.fixture(scope="module")
def folders(tiny_model):
    return {"small": str(tiny_model("bert", pooling="mean")), "decoder": str(tiny_model("qwen3"))}


@pytest.fixture(scope="module")
def encoders(folders):
    loaded = {name: Encoder.from_pretrained(folder) for name, folder in folders.items()}
    yield loaded
    for encoder in loaded.values():
        encoder.close()


@pytest.fixture(scope="module")
def server(folders):
    models = {name: EncoderSettings(model=folder) for name, folder in folders.items()}
    with running(ServerSettings(models=models)) as server:
        yield server


def close_to(vectors, expected):
    np.testing.assert_allclose(np.asarray(vectors), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["small", "decoder"])
def test_openais_client_gets_the_encoders_vectors(server, encoders, name):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    answer = client.embeddings.create(model=name, input=TEXTS)
    close_to([one.embedding for one in answer.data], encoders[name].encode_documents(TEXTS))
    assert answer.usage.prompt_tokens == int(encoders[name].tokenize(TEXTS).lengths.sum())
    floats = client.embeddings.create(model=name, input=TEXTS[0], encoding_format="float")
    close_to(floats.data[0].embedding, encoders[name].encode_documents(TEXTS[0]))


def test_openais_client_chooses_the_role_of_its_texts(server, encoders):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    encoder = encoders["decoder"]
    wanted = {
        "query": encoder.encode_queries(TEXTS),
        "document": encoder.encode_documents(TEXTS),
        "biology": encoder.encode_queries(TEXTS, task="biology"),
    }
    for kind, expected in wanted.items():
        answer = client.embeddings.create(model="decoder", input=TEXTS, extra_body={"input_type": kind})
        close_to([one.embedding for one in answer.data], expected)
    own = {"input_type": "query", "instruction": TASKS["biology"].instruction}
    answer = client.embeddings.create(model="decoder", input=TEXTS, extra_body=own)
    close_to([one.embedding for one in answer.data], wanted["biology"])


def test_openais_client_shortens_vectors_and_sends_token_ids(server, folders, encoders):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    with Encoder.from_pretrained(folders["small"], truncate_dim=16) as short:
        answer = client.embeddings.create(model="small", input=TEXTS, dimensions=16)
        close_to([one.embedding for one in answer.data], short.encode_documents(TEXTS))
    tokens = encoders["small"].tokenize(TEXTS)
    ids = [row.tolist() for row in tokens.rows(np.arange(len(TEXTS)))]
    answer = client.embeddings.create(model="small", input=ids)
    close_to([one.embedding for one in answer.data], encoders["small"].encode_documents(TEXTS))


def test_openais_client_reads_models_and_errors(server, encoders):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    assert [one.id for one in client.models.list()] == ["small", "decoder"]
    small = client.models.retrieve("small").model_dump()
    spec = encoders["small"].spec
    assert (small["dimension"], small["space"], small["spec_digest"]) == (64, spec.space(), spec.digest())
    with pytest.raises(openai.NotFoundError, match="small, decoder") as caught:
        client.embeddings.create(model="other", input="a")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="empty"):
        client.embeddings.create(model="small", input="")


def test_langchains_openai_embeddings_give_the_encoders_vectors(server, encoders):
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        model="small", base_url=f"{server.url}/v1", api_key=KEY, check_embedding_ctx_length=False
    )
    close_to(embeddings.embed_documents(TEXTS), encoders["small"].encode_documents(TEXTS))
    close_to(embeddings.embed_query(TEXTS[0]), encoders["small"].encode_queries(TEXTS[0]))


def test_llama_indexs_openai_like_embedding_gives_the_encoders_vectors(server, encoders):
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(model_name="small", api_base=f"{server.url}/v1", api_key=KEY)
    close_to(embedding.get_text_embedding_batch(TEXTS), encoders["small"].encode_documents(TEXTS))
    close_to(embedding.get_query_embedding(TEXTS[0]), encoders["small"].encode_queries(TEXTS[0]))


@pytest.mark.parametrize("name", ["small", "decoder"])
@pytest.mark.parametrize("send", ["tokens", "text"])
def test_the_remote_encoder_gives_the_encoders_vectors(server, folders, encoders, name, send):
    encoder = encoders[name]
    settings = RemoteSettings(send=send)
    url = f"{server.url}/v1"
    with RemoteEncoder(url, name, encoder.spec, tokenizer=folders[name], settings=settings) as remote:
        close_to(remote.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
        close_to(remote.encode_queries(TEXTS, task="biology"), encoder.encode_queries(TEXTS, task="biology"))


def test_the_remote_encoder_refuses_another_models_vectors(server, encoders):
    with (
        RemoteEncoder(f"{server.url}/v1", "decoder", encoders["small"].spec) as remote,
        pytest.raises(SpecMismatchError, match=encoders["decoder"].spec.space()),
    ):
        remote.encode_documents(TEXTS)
    shorter = dataclasses.replace(encoders["small"].spec, dimension=16)
    with RemoteEncoder(f"{server.url}/v1", "small", shorter, settings=RemoteSettings(server_dimension=64)) as remote:
        assert remote.encode_documents(TEXTS).shape == (len(TEXTS), 16)
