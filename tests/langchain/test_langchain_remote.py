"""The faces before a server: the same vectors with nothing but a base_url changed."""

from __future__ import annotations

import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from llama_index.retrievers.reasonembed import ReasonEmbedRetriever as LlamaIndexRetriever

from langchain_reasonembed import ReasonEmbedEmbeddings, ReasonEmbedRetriever, ReasonEmbedVectorStore
from reasonembed_rag import Encoder
from reasonembed_rag.errors import InputError

pytestmark = pytest.mark.loopback


@pytest.fixture
def encoder(tiny_model):
    return Encoder.from_pretrained(str(tiny_model("bert", pooling="mean")), dtype="float32")


@pytest.fixture
def server(encoder, socket_enabled):
    """Serve the encoder's document path at /v1/embeddings, and remember the keys that were shown."""
    keys = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            keys.append(self.headers["Authorization"])
            rows = encoder.encode_documents(asked["input"]).tolist()
            data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
            body = json.dumps({"object": "list", "data": data, "model": asked["model"]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/v1", keys
        running.shutdown()


async def test_a_base_url_changes_where_vectors_are_made_and_nothing_else(server, encoder, tmp_path):
    url, keys = server
    spec = dataclasses.asdict(encoder.spec)
    texts = ["the quick fox", "a lazy dog"]
    embeddings = ReasonEmbedEmbeddings(model="on-server", base_url=url, server_spec=spec, api_key="secret")
    np.testing.assert_allclose(embeddings.embed_documents(texts), encoder.encode_documents(texts), atol=1e-6)
    np.testing.assert_allclose(await embeddings.aembed_query("fox"), encoder.encode_queries(["fox"])[0], atol=1e-6)
    assert set(keys) == {"Bearer secret"}
    assert "secret" not in repr(embeddings)
    theirs = ReasonEmbedEmbedding(model_name="on-server", base_url=url, server_spec=spec)
    np.testing.assert_allclose(theirs.get_text_embedding_batch(texts), encoder.encode_documents(texts), atol=1e-6)
    assert "secret" not in json.dumps(theirs.to_dict())

    ReasonEmbedVectorStore.from_texts(texts, embeddings, path=tmp_path / "index", ids=["a", "b"]).store.close()
    asked = ReasonEmbedRetriever(index=str(tmp_path / "index"), model="on-server", base_url=url).invoke("fox")
    again = LlamaIndexRetriever(str(tmp_path / "index"), model="on-server", base_url=url).retrieve("fox")
    assert [document.id for document in asked] == [node.node_id for node in again]
    local = ReasonEmbedRetriever(index=str(tmp_path / "index"), dtype="float32").invoke("fox")
    assert [document.id for document in local] == [document.id for document in asked]


def test_half_of_a_servers_settings_is_refused(encoder):
    with pytest.raises(InputError, match=r"\bbase_url\b.*\bserver_spec\b"):
        ReasonEmbedEmbeddings(model="m", base_url="http://127.0.0.1:1/v1").embed_query("x")
    with pytest.raises(InputError, match=r"\btokenizer\b.*\bbase_url\b"):
        ReasonEmbedEmbeddings(model="m", server_spec={}).embed_query("x")
    spec = dataclasses.asdict(encoder.spec)
    with pytest.raises(InputError, match=r"http://h/v1.*\btoken_budget\b"):
        ReasonEmbedEmbeddings(model="m", base_url="http://h/v1", server_spec=spec, truncate_dim=8).embed_query("x")
