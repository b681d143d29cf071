"""Reranking and search give what the cross-encoder, the index and the pipeline give."""

from __future__ import annotations

import numpy as np
import pytest
from running_server import running

from reasonembed_rag import Document, Encoder
from reasonembed_rag.encoder import EncoderSettings
from reasonembed_rag.errors import InputError, ModelError, StoreError
from reasonembed_rag.pipeline import Pipeline, read_pipeline
from reasonembed_rag.rerank import CrossEncoder
from reasonembed_server import Limits, Served, ServerSettings
from reasonembed_stores import BM25_WEIGHT, FaissStore, IndexRetriever

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

QUERY = "why do cells divide?"
ROWS = [
    Document("cell", "cells divide when they grow", {"topic": "life", "path": "life.txt"}),
    Document("dog", "the lazy dog sleeps", {"topic": "life", "path": "life.txt"}),
    Document("code", "for item in range: append item", {"topic": "code", "path": "code.txt"}),
]
DOCUMENTS = [row.content for row in ROWS]


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory, tiny_model):
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("bert"))
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(vocab_size=len(tokenizer), num_labels=1, initializer_range=0.3, **shape)
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tiny_model):
    return str(tiny_model("bert", pooling="mean"))


@pytest.fixture(scope="module")
def index(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("indexes") / "rows.index"
    with Encoder.from_pretrained(model) as encoder:
        store = FaissStore.create(folder, spec=encoder.spec)
        store.upsert(ROWS, encoder.encode_documents(DOCUMENTS))
        store.close()
    return folder


@pytest.fixture(scope="module")
def stages(tmp_path_factory, cross_encoder):
    file = tmp_path_factory.mktemp("pipeline") / "stages.toml"
    file.write_text(f'[[stage]]\nkind = "cross-encoder"\nname = "rerank"\nmodel = "{cross_encoder}"\n')
    return tuple(read_pipeline(file).open())


@pytest.fixture(scope="module")
def server(index, cross_encoder, stages):
    settings = ServerSettings(
        rerankers={"cross": cross_encoder}, indexes={"rows": index}, stages=stages, limits=Limits(hits=10)
    )
    with running(settings) as server:
        yield server


def same(answer, hits):
    assert answer.status_code == 200, answer.text
    (result,) = answer.json()["results"]
    assert [hit["id"] for hit in result["hits"]] == list(hits.ids)
    np.testing.assert_allclose([hit["score"] for hit in result["hits"]], hits.scores, atol=1e-5)


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_reranking_gives_the_cross_encoders_relevance(server, cross_encoder, path):
    with CrossEncoder.from_pretrained(cross_encoder) as reranker:
        logits = reranker.score([(QUERY, document) for document in DOCUMENTS])
    expected = 1 / (1 + np.exp(-logits))
    body = {"model": "cross", "query": QUERY, "documents": DOCUMENTS, "return_documents": True}
    results = server.post(path, body).json()["results"]
    assert [one["index"] for one in results] == np.argsort(-expected).tolist()
    np.testing.assert_allclose([one["relevance_score"] for one in results], np.sort(expected)[::-1], atol=1e-5)
    assert [one["document"]["text"] for one in results] == [DOCUMENTS[one["index"]] for one in results]
    objects = {"query": QUERY, "documents": [{"text": one} for one in DOCUMENTS], "top_n": 2}
    first = server.post(path, objects).json()
    assert [one["index"] for one in first["results"]] == [one["index"] for one in results][:2]
    assert first["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("plain", [True, False])
def test_a_search_without_stages_gives_what_the_index_gives(server, index, plain):
    retriever = IndexRetriever(index, bm25_weight=0.0 if plain else BM25_WEIGHT)
    body = {"index": "rows", "query": QUERY, "k": 3, "stages": [], "plain": plain}
    same(server.post("/v1/search", body), retriever.search([QUERY], k=3)[0])
    filtered = retriever.with_settings(filters={"topic": "life"}, bm25_weight=retriever.bm25_weight)
    same(server.post("/v1/search", body | {"filters": {"topic": "life"}}), filtered.search([QUERY], k=3)[0])


def test_a_search_runs_the_pipelines_stages_and_shows_documents(server, index, stages):
    retriever = IndexRetriever(index, bm25_weight=BM25_WEIGHT)
    expected = Pipeline(retriever, stages).search([QUERY], k=2)[0]
    answer = server.post("/v1/search", {"query": QUERY, "k": 2})
    same(answer, expected)
    assert answer.json()["stages"] == ["rerank"]
    same(server.post("/v1/search", {"query": [QUERY], "k": 2, "stages": ["rerank"]}), expected)
    first = answer.json()["results"][0]["hits"][0]
    row = next(row for row in ROWS if row.id == first["id"])
    assert (first["content"], first["metadata"], first["path"]) == (row.content, row.metadata, row.metadata["path"])


def test_the_indexs_model_is_served_and_the_index_is_listed(server, model):
    answer = server.embed(input=DOCUMENTS)
    with Encoder.from_pretrained(model) as encoder:
        vectors = [one["embedding"] for one in answer.json()["data"]]
        np.testing.assert_allclose(vectors, encoder.encode_documents(DOCUMENTS), atol=1e-5)
    (listed,) = server.http.get("/v1/indexes").json()["data"]
    assert (listed["id"], listed["documents"], listed["stages"], listed["words"]) == ("rows", 3, ["rerank"], True)


BAD = {
    "an unknown index": ("search", {"query": "a", "index": "/etc"}, 404, "index_not_found"),
    "an empty question": ("search", {"query": " "}, 400, "invalid_input"),
    "no questions": ("search", {"query": []}, 400, "invalid_value"),
    "an unknown stage": ("search", {"query": "a", "stages": ["fuse"]}, 400, "unknown_stage"),
    "an unknown operator": ("search", {"query": "a", "filters": {"year": {"$near": 3}}}, 400, "invalid_input"),
    "an unknown task": ("search", {"query": "a", "task": "cooking"}, 400, "invalid_input"),
    "too many hits": ("search", {"query": "a", "k": 11}, 400, "invalid_value"),
    "no hits": ("search", {"query": "a", "k": 0}, 400, "invalid_value"),
    "a question too long": ("search", {"query": "dog " * 300}, 400, "context_length_exceeded"),
    "no documents": ("rerank", {"query": "a", "documents": []}, 400, "invalid_value"),
    "documents without text": ("rerank", {"query": "a", "documents": [{"title": "b"}]}, 400, "invalid_value"),
    "an empty query": ("rerank", {"query": "", "documents": ["b"]}, 400, "invalid_input"),
    "an unknown reranker": ("rerank", {"query": "a", "documents": ["b"], "model": "rows"}, 404, "model_not_found"),
    "documents too long": ("rerank", {"query": "a", "documents": ["dog " * 600]}, 400, "context_length_exceeded"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_searched_or_reranked_is_answered(server, case):
    path, body, status, code = BAD[case]
    answer = server.post(f"/v1/{path}", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_a_filter_nested_too_deeply_is_answered(server):
    filters = {"topic": "life"}
    for _ in range(400):
        filters = {"$and": [filters]}
    answer = server.post("/v1/search", {"query": QUERY, "filters": filters})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "nested_too_deeply")
    assert server.post("/v1/search", {"query": QUERY}).status_code == 200


def test_what_cannot_be_served_is_refused_before_the_server_starts(tmp_path, model):
    with pytest.raises(StoreError, match="empty"):
        Served(ServerSettings(indexes={"empty": tmp_path / "empty"}))
    with pytest.raises(InputError, match="same"):
        ServerSettings(models={"same": EncoderSettings(model=model)}, rerankers={"same": model})
    with pytest.raises(InputError, match="nothing to serve"):
        ServerSettings()
    with pytest.raises(ModelError, match="missing"):
        Served(ServerSettings(models={"missing": EncoderSettings(model=str(tmp_path / "missing"))}))
