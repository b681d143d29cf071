"""The remote twin against a real HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from reasonembed_rag import Encoder
from reasonembed_rag.embedder import Embedder
from reasonembed_rag.encoder import remote
from reasonembed_rag.encoder.remote import RemoteEncoder
from reasonembed_rag.errors import BackendError, InputError
from reasonembed_rag.spec import EmbeddingSpec

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

SPEC = EmbeddingSpec(
    model="server",
    pooling="last",
    attention="causal",
    query_template="Instruct: {instruction}\nQuery: {text}",
    default_instruction="Find help.",
    max_query_length=32,
    max_document_length=16,
    dimension=4,
)


def vector(item) -> list[float]:
    """Give every input a vector of its own, not of length 1."""
    rng = np.random.default_rng(abs(hash(json.dumps(item))) % 2**32)
    return (rng.standard_normal(6) * 3).tolist()


class Server(ThreadingHTTPServer):
    """Answers embeddings; `faults` are given out first, one a request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.faults, self.headers_seen = [], [], []
        self.as_floats = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.headers_seen.append(self.headers.get("authorization"))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "reset":
            self.connection.close()
            return
        status, content, headers = fault or (200, None, {})
        if content is None:
            self.server.bodies.append(body)
            rows = []
            for index, item in enumerate(body["input"]):
                numbers = vector(item)
                encoded = base64.b64encode(np.asarray(numbers, dtype="<f4").tobytes()).decode()
                rows.append({"index": index, "embedding": numbers if self.server.as_floats else encoded})
            content = json.dumps({"data": rows[::-1]})  # an order of its own
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server(socket_enabled):
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def pauses(monkeypatch):
    """Collect the pauses between tries instead of waiting for them."""
    taken = []
    monkeypatch.setattr(remote.time, "sleep", taken.append)
    return taken


def expected(items, dimension=4):
    rows = np.asarray([vector(item) for item in items], dtype=np.float32)[:, :dimension]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("as_floats", [False, True])
def test_vectors_come_in_input_order_cut_and_of_length_one(server, as_floats):
    server.as_floats = as_floats
    texts = [f"text {n % 37}\nwith a line" for n in range(100)]
    with RemoteEncoder(server.url, "m", SPEC, batch_size=7, concurrency=4) as encoder:
        assert isinstance(encoder, Embedder)
        assert np.allclose(encoder.encode_documents(texts), expected(texts), atol=1e-6)
        assert encoder.encode_documents([]).shape == (0, 4)
    assert sum(len(body["input"]) for body in server.bodies) == 37  # each distinct text once
    assert {body["model"] for body in server.bodies} == {"m"}


def test_the_template_is_applied_on_our_side_and_to_queries_alone(server):
    with RemoteEncoder(server.url, "m", SPEC) as encoder:
        got = encoder.encode_queries(["why?"], task="pony")
        words = "Given a Pony question, retrieve relevant passages that help answer the question."
        assert np.allclose(got, expected([f"Instruct: {words}\nQuery: why?"]), atol=1e-6)
        encoder.encode_documents(["why?"])
    assert server.bodies[-1]["input"] == ["why?"]


def test_with_a_tokenizer_the_server_is_sent_what_the_local_encoder_computes(server, tiny_model):
    folder = str(tiny_model("qwen3", eos_appended=True))
    spec = dataclasses.replace(SPEC, max_document_length=12)
    long = "lazy dog " * 40
    with RemoteEncoder(server.url, "m", spec, tokenizer=folder) as encoder:
        encoder.encode_documents([long])
    local = Encoder.from_pretrained(folder)
    tokens = local._tokenizer([long], before="", after="", max_length=12)
    assert server.bodies[0]["input"] == [tokens.ids.tolist()]
    assert len(tokens.ids) == 12


def test_what_passes_is_tried_again_and_retry_after_is_heeded(server, pauses):
    server.faults = [(503, "busy", {}), (429, "slow down", {"retry-after": "7"}), "reset"]
    with RemoteEncoder(server.url, "m", SPEC) as encoder:
        assert np.allclose(encoder.encode_documents(["a"]), expected(["a"]), atol=1e-6)
    assert len(pauses) == 3
    assert pauses[1] == 7.0
    assert all(0 < pause <= 30 for pause in pauses)


def test_a_server_that_stays_away_is_an_error_that_says_so(server, pauses):
    server.faults = [(500, '{"error": {"message": "out of order"}}', {})] * 9
    with RemoteEncoder(server.url, "m", SPEC, retries=2) as encoder, pytest.raises(BackendError, match="out of order"):
        encoder.encode_documents(["a"])
    assert len(pauses) == 2
    assert len(server.faults) == 6


def test_a_refusal_is_not_tried_again_and_the_key_stays_secret(server, pauses):
    server.faults = [(401, '{"error": {"message": "wrong key"}}', {})]
    with (
        RemoteEncoder(server.url, "m", SPEC, api_key="sk-secret") as encoder,
        pytest.raises(BackendError, match=r"status 401: wrong key") as caught,
    ):
        encoder.encode_documents(["a"])
    assert server.headers_seen == ["Bearer sk-secret"]
    assert not pauses
    assert "sk-secret" not in f"{caught.value}{encoder!r}{encoder.spec.to_json()}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>", "want JSON"),
        ('{"object": "list"}', "no list of embeddings"),
        ('{"data": []}', "0 vectors to 1 texts"),
        ('{"data": [{"index": 0, "embedding": [1.0, 2.0]}]}', "2 numbers, the spec says 4"),
        ('{"data": [{"index": 0, "embedding": "????"}]}', "no list of embeddings"),
        ('{"data": [{"index": 0, "embedding": [1, 2, 3, NaN]}]}', "not finite"),
    ],
)
def test_an_answer_that_is_none_is_an_error(server, content, message):
    server.faults = [(200, content, {})]
    with RemoteEncoder(server.url, "m", SPEC) as encoder, pytest.raises(BackendError, match=message):
        encoder.encode_documents(["a"])


async def test_many_async_callers_get_their_own_vectors(server):
    with RemoteEncoder(server.url, "m", SPEC, concurrency=4) as encoder:
        got = await asyncio.gather(*(encoder.aencode_documents([f"text {n}"]) for n in range(40)))
    assert np.allclose(np.concatenate(got), expected([f"text {n}" for n in range(40)]), atol=1e-6)


def test_settings_and_texts_are_checked_before_anything_is_sent(server):
    for wrong in ({"base_url": "localhost:1"}, {"batch_size": 0}, {"concurrency": 0}, {"retries": -1}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*want"):
            RemoteEncoder(**({"base_url": server.url, "model": "m", "spec": SPEC} | wrong))
    with RemoteEncoder(server.url, "m", SPEC) as encoder:
        with pytest.raises(InputError, match="is empty"):
            encoder.encode_queries([" "])
        with pytest.raises(InputError, match="both task and instruction"):
            encoder.encode_queries(["a"], task="pony", instruction="Find.")
    assert not server.bodies
