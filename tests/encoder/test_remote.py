"""The remote encoder against a real HTTP server on the loopback interface."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waits import until

from reasonembed_rag.backbone import load_tokenizer
from reasonembed_rag.encoder import RemoteEncoder, RemoteSettings, collect_truncations
from reasonembed_rag.errors import BackendError, InputError, UnknownTaskError
from reasonembed_rag.llm import RetryPolicy
from reasonembed_rag.protocols import Embedder
from reasonembed_rag.spec import EmbeddingSpec

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

WAIT_S = 30

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


def vector(item):
    """Give every input a different vector, not of length 1."""
    rng = np.random.default_rng(zlib.crc32(json.dumps(item).encode()))
    return (rng.standard_normal(4) * 3).astype(np.float32).tolist()


def expected(items):
    rows = np.asarray([vector(item) for item in items], dtype=np.float32).reshape(-1, 4)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Server(ThreadingHTTPServer):
    """Answers embeddings in another order; `faults` are used first, one per request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.faults, self.keys, self.paths = [], [], [], []
        self.ignores_encoding = False
        self.gate, self.lock = threading.Event(), threading.Lock()
        self.gate.set()
        self.running = self.most_running = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.running += 1
            server.most_running = max(server.most_running, server.running)
            server.bodies.append(body)
            server.keys.append(self.headers.get("authorization"))
            server.paths.append(self.path)
            fault = server.faults.pop(0) if server.faults else None
        server.gate.wait(WAIT_S)
        try:
            self.answer(body, fault)
        finally:
            with server.lock:
                server.running -= 1

    def answer(self, body, fault):
        if fault == "reset":
            self.close_connection = True
            return
        if fault == "half":
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"data": [')
            self.close_connection = True
            return
        if fault is None and "bad" in body["input"]:
            fault = (400, '{"error": {"message": "a bad text"}}', {})
        status, content, headers = fault or (200, self.embeddings(body), {})
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(content.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content.encode())

    def embeddings(self, body):
        rows = []
        for index, item in enumerate(body["input"]):
            numbers = vector(item)
            if body["encoding_format"] == "base64" and not self.server.ignores_encoding:
                numbers = base64.b64encode(np.asarray(numbers, dtype="<f4").tobytes()).decode()
            rows.append({"object": "embedding", "index": index, "embedding": numbers})
        return json.dumps({"object": "list", "data": rows[::-1]})

    def log_message(self, *_):
        pass


@pytest.fixture
def server(socket_enabled):
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.gate.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def remote(server):
    """Make encoders for the server, closed after the test: remote(batch_size=7) or remote(spec=..., api_key=...)."""
    made = []

    def make(*, spec=SPEC, api_key=None, api_key_env=None, tokenizer=None, **chosen):
        encoder = RemoteEncoder(
            server.url,
            "m",
            spec,
            api_key=api_key,
            api_key_env=api_key_env,
            tokenizer=tokenizer,
            settings=RemoteSettings(**chosen),
        )
        made.append(encoder)
        return encoder

    yield make
    for encoder in made:
        encoder.close()


@pytest.fixture
def pauses(monkeypatch):
    """Collect the pauses between attempts instead of waiting for them."""
    taken, chosen = [], RetryPolicy.next_wait

    def note(self, attempt, failure):
        wait = chosen(self, attempt, failure)
        if wait is None:
            return None
        taken.append(wait)
        return 0.0

    monkeypatch.setattr(RetryPolicy, "next_wait", note)
    return taken


def within(function, *, seconds=WAIT_S):
    """Call a function in a thread; a hang becomes TimeoutError."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function).result(seconds)
    finally:
        pool.shutdown(wait=False)


def asked(server):
    return [item for body in server.bodies for item in body["input"]]


@pytest.mark.parametrize(("encoding", "ignores"), [("base64", False), ("float", False), ("base64", True)])
def test_vectors_come_in_input_order_and_of_length_one(server, remote, encoding, ignores):
    server.ignores_encoding = ignores
    texts = [f"text {n % 37}\nwith a line" for n in range(100)]
    encoder = remote(batch_size=7, concurrency=4, encoding=encoding)
    assert isinstance(encoder, Embedder)
    assert np.allclose(encoder.encode_documents(texts), expected(texts), atol=1e-6)
    assert len(asked(server)) == len(set(asked(server))) == 37
    assert {(body["model"], body["encoding_format"]) for body in server.bodies} == {("m", encoding)}
    assert max(len(body["input"]) for body in server.bodies) == 7
    assert set(server.paths) == {"/v1/embeddings"}


def test_nothing_is_sent_for_no_texts(server, remote):
    encoder = remote()
    assert encoder.encode_documents([]).shape == encoder.encode_queries([]).shape == (0, 4)
    assert asyncio.run(encoder.aencode_documents([])).shape == (0, 4)
    assert not server.bodies


def test_the_template_is_applied_on_our_side_and_to_queries_alone(server, remote):
    encoder = remote()
    words = "Given a Pony question, retrieve relevant passages that help answer the question."
    whole = [f"Instruct: {said}\nQuery: why?" for said in (words, "Find {text}.", "Find help.")]
    got = [
        encoder.encode_queries(["why?"], task="pony"),
        encoder.encode_queries(["why?"], instruction="Find {text}."),
        asyncio.run(encoder.aencode_queries(["why?"])),
    ]
    assert np.allclose(np.concatenate(got), expected(whole), atol=1e-6)
    encoder.encode_documents(["why?"])
    assert asked(server) == [*whole, "why?"]


def test_vectors_are_not_normalised_if_the_spec_says_so(remote):
    got = remote(spec=dataclasses.replace(SPEC, normalize=False)).encode_documents(["a", "b"])
    assert np.allclose(got, [vector("a"), vector("b")], atol=1e-6)


def test_a_model_of_another_dimension_is_refused_unless_the_spec_truncates_it(remote, pauses):
    short = dataclasses.replace(SPEC, dimension=3)
    with pytest.raises(BackendError, match=r"\b4\b.*\b3\b.*\bserver_dimension=4\b"):
        remote(spec=short).encode_documents(["a"])
    with pytest.raises(BackendError, match=r"\b4\b.*\b5\b.*\bserver_dimension=4\b"):
        remote(spec=dataclasses.replace(SPEC, dimension=5)).encode_documents(["a"])
    cut = np.asarray([vector("a")[:3]])
    got = remote(spec=short, server_dimension=4).encode_documents(["a"])
    assert np.allclose(got, cut / np.linalg.norm(cut), atol=1e-6)
    assert got.dtype == np.float32


def test_with_a_tokenizer_the_server_gets_the_ids_of_transformers(server, remote, tiny_model):
    from transformers import AutoTokenizer

    folder = str(tiny_model("qwen3", eos_appended=True))
    plain = AutoTokenizer.from_pretrained(folder)
    spec = dataclasses.replace(SPEC, max_document_length=12, max_query_length=40)
    texts = ["lazy dog " * 40, "", "über"]
    encoder = remote(spec=spec, tokenizer=folder, batch_size=2)
    with collect_truncations() as counts:
        encoder.encode_documents(texts)
    assert counts.by_length == {12: 1}
    wanted = plain(texts, truncation=True, max_length=12)["input_ids"]
    assert sorted(asked(server)) == sorted(wanted)
    assert len(wanted[0]) == 12
    server.bodies.clear()
    encoder.encode_queries(texts[:1], instruction="Find it.")
    assert asked(server) == [plain(f"Instruct: Find it.\nQuery: {texts[0]}", truncation=True, max_length=40).input_ids]


def test_a_tokenizer_needs_no_weights(tmp_path, tiny_model):
    for kind, place in (("qwen3", ""), ("bert", "0_Transformer")):
        source, folder = tiny_model(kind), tmp_path / kind
        (folder / place).mkdir(parents=True)
        for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
            (folder / place / name).write_bytes((source / name).read_bytes())
        if place:
            modules = [{"path": place, "type": "sentence_transformers.models.Transformer"}]
            (folder / "modules.json").write_text(json.dumps(modules))
        wanted = load_tokenizer(str(source), append_eos=False)(["the fox"], before="", after="", max_length=9)
        tokens = load_tokenizer(str(folder), append_eos=False)(["the fox"], before="", after="", max_length=9)
        assert np.array_equal(tokens.ids, wanted.ids)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text("ab \u00e9\u6771\U0001f98a.Xx\n", max_size=60),
    length=st.integers(12, 30),
    kind=st.sampled_from(["qwen3", "bert"]),
)
def test_text_is_truncated_so_that_the_servers_own_tokens_stay_within_the_length(tokenizers, text, length, kind):
    ours, theirs = tokenizers[kind]
    kept = ours.truncate(text, before="ask: ", after=" end", max_length=length)
    assert text.startswith(kept)
    assert len(theirs(f"ask: {kept} end")) <= length
    if len(theirs(f"ask: {text} end")) <= length:
        assert kept == text
    else:
        one_more = len(theirs(f"ask: {text[: len(kept) + 1]} end"))
        assert one_more >= length - 3  # hardly one more token would have fitted


@pytest.fixture(scope="session")
def tokenizers(tiny_model):
    from transformers import AutoTokenizer

    made = {}
    for kind, options in (("qwen3", {"eos_appended": True}), ("bert", {})):
        folder = str(tiny_model(kind, **options))
        plain = AutoTokenizer.from_pretrained(folder)
        made[kind] = (load_tokenizer(folder, append_eos=False), lambda text, plain=plain: plain(text)["input_ids"])
    return made


def test_text_is_truncated_for_a_server_that_takes_no_ids(server, remote, tiny_model):
    folder = str(tiny_model("bert"))
    texts = ["lazy dog " * 40, "the fox"]
    with collect_truncations() as counts:
        remote(tokenizer=folder, send="text", concurrency=1).encode_documents(texts)
    sent = asked(server)
    assert sent[1] == "the fox"
    assert len(sent[0]) > 20
    assert texts[0].startswith(sent[0])
    tokens = load_tokenizer(folder, append_eos=False)([sent[0]], before="", after="", max_length=99)
    assert len(tokens.ids) == SPEC.max_document_length
    assert counts.by_length == {SPEC.max_document_length: 1}
    assert counts.tokens == 80 + 2 - SPEC.max_document_length


def test_retryable_failures_are_retried_and_retry_after_is_honoured(server, remote, pauses):
    in_a_while = formatdate(time.time() + 40, usegmt=True)
    server.faults = [
        (503, "busy", {}),
        (429, "slow down", {"retry-after": "7"}),
        "reset",
        "half",
        (502, "", {"retry-after": in_a_while}),
        (500, "", {"retry-after": "soon"}),
    ]
    assert np.allclose(remote(retries=6).encode_documents(["a"]), expected(["a"]), atol=1e-6)
    assert len(pauses) == 6
    assert 7 < pauses[1] <= 7.5
    assert 30 < pauses[4] <= 41
    backed_off = [(0, pauses[0]), (2, pauses[2]), (3, pauses[3]), (5, pauses[5])]
    assert all(0.25 * 2**number <= pause <= 0.5 * 2**number for number, pause in backed_off)


def test_waits_are_bounded_and_a_server_that_asks_for_more_is_an_error(server, remote, pauses):
    server.faults = [(503, "busy", {})] * 3
    remote(retries=3, longest_pause_s=0.6).encode_documents(["a"])
    assert pauses[2] <= 0.6
    server.faults = [(429, "quota", {"retry-after": "3600"})]
    with pytest.raises(BackendError, match=r"\b3600\b.*\b429\b.*quota.*\blongest_pause_s\b"):
        remote().encode_documents(["a"])


def test_a_server_that_does_not_answer_at_all_is_an_error(server, remote, pauses):
    server.faults = [(500, '{"error": {"message": "out of order"}}', {})] * 9
    with pytest.raises(BackendError, match=r"\b3\b.*\b500\b.*out of order"):
        remote(retries=2).encode_documents(["a"])
    assert len(server.bodies) == 3
    with RemoteEncoder("http://127.0.0.1:9/v1", "m", SPEC, settings=RemoteSettings(retries=1)) as nobody:  # noqa: SIM117
        with pytest.raises(BackendError, match=r"\b2\b.*ConnectError"):
            nobody.encode_documents(["a"])


def test_a_server_that_does_not_answer_in_time_is_tried_again(server, remote, pauses):
    server.gate.clear()
    with pytest.raises(BackendError, match=r"\b2\b.*\b0\.1\b.*ReadTimeout"):
        remote(timeout_s=0.1, retries=1).encode_documents(["a"])
    until(lambda: len(server.bodies) >= 2)  # the server may read a request after its client has left
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, '{"error": {"message": "SAID", "type": "x"}}'),
        (404, '{"object": "error", "message": "SAID"}'),
        (413, '{"error": "SAID", "error_type": "validation"}'),
        (422, '{"detail": "SAID"}'),
        (400, "SAID"),
        (307, "SAID"),
    ],
)
def test_a_refusal_is_an_error_in_the_servers_words_at_once(server, remote, pauses, status, said):
    server.faults = [(status, said, {})]
    with pytest.raises(BackendError, match=rf"\b{status}\b.*SAID"):
        remote().encode_documents(["a"])
    assert len(server.bodies) == 1


def test_after_a_refusal_nothing_more_is_sent(server, remote):
    server.faults = [(401, "no", {})] * 100
    with pytest.raises(BackendError, match="401"):
        remote(batch_size=1, concurrency=2).encode_documents([str(n) for n in range(100)])
    assert len(server.bodies) <= 6


def test_a_refusal_ends_the_pauses_of_the_other_requests(server, remote):
    server.faults = [(503, "busy", {"retry-after": "50"}), (401, "no", {})]
    encoder = remote(batch_size=1, concurrency=2)
    with pytest.raises(BackendError, match="401"):
        within(lambda: encoder.encode_documents(["a", "b"]))
    within(encoder.close)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>", "<html>.*JSON"),
        ("[1]", "TypeError"),
        ('{"object": "list"}', "KeyError.*data"),
        ('{"data": []}', r"\b0\b.*\[\].*\b1\b"),
        ('{"data": [{"index": 1, "embedding": [1, 2, 3, 4]}]}', r"\b1\b.*\[1\].*\b1\b"),
        (
            '{"data": [{"index": 0, "embedding": [1, 2, 3, 4]}, {"index": 0, "embedding": [1, 2, 3, 4]}]}',
            r"\b2\b.*\[0\].*\b1\b",
        ),
        ('{"data": [{"embedding": [1, 2, 3, 4]}]}', "KeyError.*index"),
        ('{"data": [{"index": 0, "embedding": "????"}]}', "base64"),
        ('{"data": [{"index": 0, "embedding": "AAAAAAA="}]}', "ValueError.*buffer"),
        ('{"data": [{"index": 0, "embedding": [[1, 2, 3, 4]]}]}', r"shape \(1, 4\)"),
        ('{"data": [{"index": 0, "embedding": [1, 2, 3, "x"]}]}', "ValueError.*'x'"),
        ('{"data": [{"index": 0, "embedding": null}]}', r"shape \(\)"),
        ('{"data": [{"index": 0, "embedding": [1, 2, 3, NaN]}]}', "finite"),
    ],
)
def test_a_malformed_answer_is_an_error(server, remote, content, message):
    server.faults = [(200, content, {})]
    with pytest.raises(BackendError, match=message):
        remote().encode_documents(["a"])


def test_concurrency_is_bounded_over_all_callers(server, remote):
    encoder = remote(batch_size=2, concurrency=3)
    texts = [[f"{caller} {n}" for n in range(20)] for caller in range(6)]
    server.gate.clear()
    with ThreadPoolExecutor(6) as callers:
        answers = callers.map(encoder.encode_documents, texts)
        until(lambda: server.most_running >= 3)  # the allowed number of requests wait at the gate
        server.gate.set()
        got = list(answers)
    for mine, vectors in zip(texts, got, strict=True):
        assert np.allclose(vectors, expected(mine), atol=1e-6)
    assert server.most_running == 3


async def test_many_async_callers_share_requests_and_get_their_own_vectors(server, remote):
    encoder, server.gate = remote(batch_size=16, concurrency=4), server.gate
    texts = [f"text {n}" for n in range(200)]
    server.gate.clear()
    with blockbuster_ctx():
        first = asyncio.create_task(encoder.aencode_documents(["first"]))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(encoder.aencode_documents([text])) for text in texts]
        queries = [asyncio.create_task(encoder.aencode_queries([text], task="pony")) for text in texts[:5]]
        await asyncio.sleep(0)
        server.gate.set()
        got = await asyncio.gather(first, *tasks)
        asked_for = await asyncio.gather(*queries)
    assert np.allclose(np.concatenate(got), expected(["first", *texts]), atol=1e-6)
    words = "Given a Pony question, retrieve relevant passages that help answer the question."
    wanted = expected([f"Instruct: {words}\nQuery: {text}" for text in texts[:5]])
    assert np.allclose(np.concatenate(asked_for), wanted, atol=1e-6)
    assert len(server.bodies) < 40


async def test_a_text_that_the_server_refuses_fails_its_own_caller_alone(remote):
    texts = ["a", "bad", "c", "d"]
    got = await asyncio.gather(*(remote().aencode_documents([text]) for text in texts[:1]))
    encoder = remote()
    got = await asyncio.gather(*(encoder.aencode_documents([text]) for text in texts), return_exceptions=True)
    assert isinstance(got[1], BackendError)
    assert "a bad text" in str(got[1])
    assert np.allclose(np.concatenate([got[0], *got[2:]]), expected(["a", "c", "d"]), atol=1e-6)


async def test_an_outage_fails_all_waiting_calls_with_one_request(server, remote, pauses):
    server.gate.clear()
    server.faults = [(503, "busy", {})] * 100
    encoder = remote(retries=1)
    tasks = [asyncio.create_task(encoder.aencode_documents([str(n)])) for n in range(20)]
    await asyncio.sleep(0)
    server.gate.set()
    got = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, BackendError) for error in got)
    assert len(server.bodies) <= 8


def test_a_closed_encoder_says_so_and_leaves_no_thread(server, remote):
    before = set(threading.enumerate())
    encoder = remote()
    encoder.encode_documents(["a"])
    asyncio.run(encoder.aencode_documents(["a"]))
    encoder.close()
    encoder.close()
    mine = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("reasonembed")}
    assert not mine
    with pytest.raises(BackendError, match="closed"):
        encoder.encode_documents(["a"])
    with pytest.raises(BackendError, match="closed"):
        asyncio.run(encoder.aencode_documents(["a"]))


def test_closing_in_the_middle_of_a_call_ends_it_with_an_error(server, remote):
    server.gate.clear()
    encoder = remote(batch_size=1, concurrency=1)
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(encoder.encode_documents, [str(n) for n in range(50)])
        until(lambda: bool(server.bodies))
        closing = pool.submit(encoder.close)
        until(lambda: encoder._requests._shutdown)
        server.gate.set()
        closing.result(WAIT_S)
        with pytest.raises(BackendError, match="closed"):
            call.result(WAIT_S)
    assert len(server.bodies) < 5


SECRET = "sk-geheim123"


def test_the_key_is_sent_and_shown_nowhere(server, remote, monkeypatch, pauses):
    monkeypatch.setenv("SOME_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-asked-for")
    for encoder in (remote(api_key=SECRET, retries=0), remote(api_key_env="SOME_KEY", retries=0)):
        holders = (encoder, encoder._client, encoder._client._api)
        shown = [repr(encoder), encoder.spec.to_json(), *(repr(vars(holder)) for holder in holders)]
        for status in (401, 503):
            server.faults = [(status, f'{{"error": {{"message": "wrong key {SECRET}"}}}}', {})]
            with pytest.raises(BackendError, match=r"wrong key \*\*\*") as caught:
                encoder.encode_documents(["a"])
            shown.append(str(caught.value))
        assert not [text for text in shown if "geheim" in text]
        assert server.keys[-1] == f"Bearer {SECRET}"
    remote().encode_documents(["a"])
    assert server.keys[-1] is None


@pytest.mark.parametrize("key", ["", "sk-geheim\n", "sk geheim", "sk-geheimé"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(remote, key):
    with pytest.raises(InputError, match=r"\bapi_key\b.*ASCII") as caught:
        remote(api_key=key)
    assert "geheim" not in str(caught.value)


def test_a_key_must_come_from_one_place_that_has_it(remote, monkeypatch):
    monkeypatch.delenv("ABSENT_KEY", raising=False)
    with pytest.raises(InputError, match=r"\bapi_key_env\b.*'ABSENT_KEY'"):
        remote(api_key_env="ABSENT_KEY")
    with pytest.raises(InputError, match=r"\bapi_key\b.*\bapi_key_env\b"):
        remote(api_key="a", api_key_env="ABSENT_KEY")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8000/v1", "'localhost:8000/v1'.*http://"),
        ("ftp://host/v1", "'ftp://host/v1'.*http://"),
        ("http://", "'http://'.*http://"),
        ("http://host:port/v1", "'http://host:port/v1'.*http://"),
        ("http://me:geheim@host/v1", r"\bbase_url\b.*\bapi_key\b"),
        ("http://host/v1?key=geheim", r"\bbase_url\b.*\bapi_key\b"),
    ],
)
def test_an_invalid_address_is_refused_without_showing_secrets(url, message):
    with pytest.raises(InputError, match=message) as caught:
        RemoteEncoder(url, "m", SPEC)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"batch_size": 0}, r"\bbatch_size\b.*\b0\b.*\b1\b"),
        ({"concurrency": 0}, r"\bconcurrency\b.*\b0\b"),
        ({"retries": -1}, r"\bretries\b.*-1\b"),
        ({"timeout_s": 0}, r"\btimeout_s\b.*\b0\b"),
        ({"longest_pause_s": -1}, r"\blongest_pause_s\b.*-1\b"),
        ({"encoding": "hex"}, r"\bencoding\b.*'hex'.*base64, float"),
        ({"send": "bytes"}, r"\bsend\b.*'bytes'"),
        ({"send": "tokens"}, r"\bsend\b.*'tokens'.*\btokenizer="),
        ({"server_dimension": 3}, r"\bserver_dimension\b.*\b3\b.*\b4\b"),
        ({"spec": dataclasses.replace(SPEC, append_eos=True)}, r"\bEOS\b.*\bappend_eos=False\b"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(remote, chosen, message):
    with pytest.raises(InputError, match=message):
        remote(**chosen)


async def test_one_string_gives_the_vector_of_a_list_with_it(server, remote):
    encoder = remote()
    query, document = encoder.encode_queries(["why?"])[0], encoder.encode_documents(["why?"])[0]
    assert np.array_equal(encoder.encode_queries("why?"), query)
    assert np.array_equal(await encoder.aencode_queries("why?"), query)
    assert np.array_equal(encoder.encode_documents("why?"), document)
    assert np.array_equal(await encoder.aencode_documents("why?"), document)


def test_texts_are_checked_before_anything_is_sent(server, remote):
    encoder = remote()
    with pytest.raises(InputError, match=r"texts\[1\].*\bempty\b"):
        encoder.encode_queries(["a", " "])
    with pytest.raises(InputError, match=r"texts\[0\].*\bNoneType\b"):
        asyncio.run(encoder.aencode_documents([None]))
    with pytest.raises(InputError, match=r"\bempty\b.*\btokenizer="):
        encoder.encode_documents(["a", ""])
    with pytest.raises(InputError, match=r"\btask\b.*\binstruction\b"):
        encoder.encode_queries(["a"], task="pony", instruction="Find.")
    with pytest.raises(UnknownTaskError):
        encoder.encode_queries(["a"], task="alchemy")
    with pytest.raises(InputError, match=rf"\b{SPEC.model}\b.*\binstruction\b"):
        remote(spec=dataclasses.replace(SPEC, query_template="{text}")).encode_queries(["a"], instruction="Find.")
    assert not server.bodies


def test_torch_is_not_imported_for_a_server():
    code = (
        "import sys; import reasonembed_rag as r; from reasonembed_rag.encoder.remote import RemoteEncoder;"
        "spec = r.EmbeddingSpec(model='m', pooling='mean', attention='causal', dimension=1, max_query_length=1,"
        "max_document_length=1); RemoteEncoder('http://host/v1', 'm', spec).close();"
        "sys.exit(sorted({'torch', 'transformers', 'httpx'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
