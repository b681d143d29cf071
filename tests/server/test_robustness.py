"""Bad input, a full queue, clients that leave: the server answers in OpenAI's format and goes on."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import openai
import pytest
from running_server import WAIT_S, running
from waits import until

from reasonembed_rag import Encoder
from reasonembed_rag.encoder import EncoderSettings
from reasonembed_server import ApiKeys, Limits, ServerSettings

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]

TEXTS = ["cells divide", "the lazy dog"]


@pytest.fixture(scope="module")
def model(tiny_model):
    return str(tiny_model("bert", pooling="mean"))


def settings_of(model, **settings):
    return ServerSettings(models={"small": EncoderSettings(model=model)}, **settings)


@pytest.fixture(scope="module")
def server(model):
    limits = Limits(body_bytes=1 << 20, texts=64, characters=20_000, tokens=4096, queue_tokens=4096)
    with running(settings_of(model, limits=limits)) as server:
        yield server


@pytest.fixture(scope="module")
def expected(model):
    with Encoder.from_pretrained(model) as encoder:
        return encoder.encode_documents(TEXTS)


@pytest.fixture
def still_serves(server, expected):
    """Check after a test that the server gives the right vectors."""
    yield
    vectors = [one["embedding"] for one in server.embed(input=TEXTS).json()["data"]]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


BAD = {
    "nothing": (b"", 400, "bad_json"),
    "half": (b'{"input": "a', 400, "bad_json"),
    "a list": (b'["a"]', 400, "bad_json"),
    "NaN": (b'{"input": "a", "dimensions": NaN}', 400, "bad_json"),
    "Infinity": (b'{"input": "a", "dimensions": Infinity}', 400, "bad_json"),
    "many digits": (b'{"input": "a", "dimensions": ' + b"9" * 10_000 + b"}", 400, "bad_json"),
    "bad UTF-8": (b'{"input": "\xff\xfe"}', 400, "bad_utf8"),
    "a lone surrogate": (b'{"input": "\\ud800"}', 400, "invalid_input"),
    "deep nesting": (b"[" * 500_000, 400, "nested_too_deeply"),
    "deep input": (b'{"input": ' + b"[" * 100 + b"]" * 100 + b"}", 400, "invalid_value"),
    "10 MB": (b'{"input": "' + b"a" * 10_000_000 + b'"}', 413, "request_too_large"),
    "a long text": (json.dumps({"input": "a " * 20_000}).encode(), 413, "text_too_long"),
    "a list of token ids too long": (json.dumps({"input": [5] * 20_001}).encode(), 413, "text_too_long"),
    "many texts": (json.dumps({"input": ["a"] * 65}).encode(), 413, "too_many_texts"),
}
FORMS = {
    "no input": ({}, 400, "missing_field"),
    "null": ({"input": None}, 400, "invalid_value"),
    "an empty text": ({"input": ""}, 400, "invalid_input"),
    "an empty list": ({"input": []}, 400, "invalid_value"),
    "an empty list of ids": ({"input": [[]]}, 400, "invalid_value"),
    "mixed": ({"input": ["a", 1]}, 400, "invalid_value"),
    "ids that are floats": ({"input": [1.5]}, 400, "invalid_value"),
    "ids that are booleans": ({"input": [True]}, 400, "invalid_value"),
    "ids of another tokenizer": ({"input": [7, 8]}, 400, "invalid_input"),
    "an unknown id": ({"input": [2, 10**30, 3]}, 400, "invalid_input"),
    "an unknown model": ({"input": "a", "model": "../../etc/passwd"}, 404, "model_not_found"),
    "an unknown field": ({"input": "a", "dimension": 3}, 400, "unknown_field"),
    "a misspelt field": ({"inputs": "a"}, 400, "unknown_field"),
    "too many dimensions": ({"input": "a", "dimensions": 65}, 400, "invalid_value"),
    "no dimensions": ({"input": "a", "dimensions": 0}, 400, "invalid_value"),
    "another encoding": ({"input": "a", "encoding_format": "int8"}, 400, "invalid_value"),
    "another role": ({"input": "a", "input_type": "passage"}, 400, "invalid_value"),
    "a role of ids": ({"input": [[2, 7, 3]], "input_type": "query"}, 400, "invalid_value"),
    "an instruction without queries": ({"input": "a", "instruction": "Find."}, 400, "invalid_value"),
    "an instruction not taken": ({"input": "a", "input_type": "query", "instruction": "Find."}, 400, "invalid_input"),
    "too long": ({"input": ["a", "dog " * 200]}, 400, "context_length_exceeded"),
    "too many tokens": ({"input": ["dog " * 126] * 40}, 413, "too_many_tokens"),
}


HEAD = b"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\n"
NO_REQUESTS = {
    "noise": bytes(range(256)) * 20 + b"\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    "a negative length": HEAD + b"content-length: -5\r\n\r\n",
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a chunk without a size": HEAD + b"transfer-encoding: chunked\r\n\r\nZZ\r\nabc\r\n",
    "packed": HEAD + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\n\x1f\x8b\x08\x00\x00",
}


def problem(answer):
    """Return an answer's error, which has OpenAI's format."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.usefixtures("still_serves")
@pytest.mark.parametrize("case", BAD)
def test_a_body_that_cannot_be_read_is_answered(server, case):
    body, status, code = BAD[case]
    answer = server.http.post("/v1/embeddings", content=body)
    assert (answer.status_code, problem(answer)["code"]) == (status, code)


@pytest.mark.usefixtures("still_serves")
@pytest.mark.parametrize("case", NO_REQUESTS)
def test_what_is_no_request_is_answered(server, case):
    host, port = server.url.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as client:
        client.settimeout(WAIT_S)
        client.sendall(NO_REQUESTS[case])
        assert client.recv(65536).startswith(b"HTTP/1.1 400")


@pytest.mark.usefixtures("still_serves")
@pytest.mark.parametrize("case", FORMS)
def test_what_cannot_be_embedded_is_answered(server, case):
    body, status, code = FORMS[case]
    answer = server.embed(**body)
    assert (answer.status_code, problem(answer)["code"]) == (status, code), answer.text


def test_texts_are_truncated_where_a_request_asks_for_it_and_counted(server):
    answer = server.embed(input=["dog", "dog " * 200], truncate=True).json()
    assert answer["usage"]["truncated_texts"] == 1
    assert 'reasonembed_truncated_texts_total{model="small"} 1.0' in server.http.get("/metrics").text


def test_paths_and_methods_that_do_not_exist_are_answered_in_the_same_format(server):
    assert problem(server.http.get("/v1/nothing"))["code"] == "unknown_path"
    assert problem(server.http.get("/v1/embeddings"))["code"] == "wrong_method"
    assert problem(server.http.get("/v1/models/nothing"))["code"] == "model_not_found"
    assert problem(server.post("/v1/rerank", {"query": "a", "documents": ["b"]}))["message"].endswith("--reranker")
    assert problem(server.post("/v1/search", {"query": "a"}))["code"] == "index_not_found"


def test_a_body_without_its_length_is_not_read_beyond_the_limit(server):
    sent = []

    def parts():
        for number in range(1000):
            sent.append(number)
            yield b"x" * 65536

    answer = server.http.post("/v1/embeddings", content=parts())
    assert answer.status_code == 413
    assert len(sent) < 900


def test_a_full_queue_is_refused_with_the_time_to_come_back_and_the_rest_is_answered(model, gate_of):
    limits = Limits(tokens=64, queue_tokens=64)
    with running(settings_of(model, limits=limits)) as server, ThreadPoolExecutor() as pool:
        gate = gate_of(server)
        held = pool.submit(server.embed, input=["dog " * 40])
        assert gate.entered.wait(WAIT_S)
        refused = server.embed(input=["dog " * 40])
        assert (refused.status_code, problem(refused)["type"]) == (429, "rate_limit_error")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        gate.open()
        assert held.result().status_code == 200
        assert server.embed(input=["dog " * 40]).status_code == 200
        assert server.served.loaded[0].queue.waiting == 0


def test_openais_client_comes_back_by_itself_when_there_is_room(model, gate_of):
    limits = Limits(tokens=64, queue_tokens=64)
    with running(settings_of(model, limits=limits)) as server, ThreadPoolExecutor() as pool:
        gate = gate_of(server)
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=5)
        asked = [pool.submit(client.embeddings.create, model="small", input="dog " * 40) for _ in range(2)]
        assert gate.entered.wait(WAIT_S)
        until(lambda: 'status="429"' in server.http.get("/metrics").text)
        gate.open()
        assert [len(one.result().data) for one in asked] == [1, 1]


def test_a_client_that_leaves_frees_its_place_and_its_waiting_texts_are_not_computed(model, gate_of):
    with running(settings_of(model)) as server, ThreadPoolExecutor() as pool:
        gate = gate_of(server)
        first = pool.submit(server.embed, input=TEXTS)
        assert gate.entered.wait(WAIT_S)
        body = json.dumps({"input": ["dog " * 100] * 50}).encode()
        queue = server.served.loaded[0].queue
        taken = queue.waiting
        host, port = server.url.removeprefix("http://").split(":")
        with closing(socket.create_connection((host, int(port)))) as left:
            head = f"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            left.sendall(head.encode() + body)
            until(lambda: queue.waiting > taken)
        until(lambda: queue.waiting == taken)
        packs = gate.packs
        gate.open()
        assert first.result().status_code == 200
        assert gate.packs == packs
        assert "reasonembed_disconnected_total 1.0" in server.http.get("/metrics").text


def test_an_answer_that_takes_too_long_is_given_up(model, gate_of):
    with running(settings_of(model, limits=Limits(answer_s=0.2))) as server:
        gate = gate_of(server)
        late = server.embed(input=TEXTS)
        assert (late.status_code, problem(late)["code"]) == (504, "timeout")
        assert server.served.loaded[0].queue.waiting == 0
        gate.open()


def test_a_request_that_arrives_too_slowly_is_given_up(model):
    with running(settings_of(model, limits=Limits(body_s=1.0))) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with closing(socket.create_connection((host, int(port)))) as slow:
            slow.settimeout(WAIT_S)
            slow.sendall(b'POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"input": ')
            answer = slow.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        assert server.embed(input=TEXTS).status_code == 200


def test_requests_that_hold_too_many_bytes_are_refused(model, gate_of):
    limits = Limits(body_bytes=3000, held_bytes=3000)
    with running(settings_of(model, limits=limits)) as server, ThreadPoolExecutor() as pool:
        gate = gate_of(server)
        held = pool.submit(server.embed, input=["dog " * 60] * 8)
        assert gate.entered.wait(WAIT_S)
        refused = server.embed(input=["dog " * 60] * 8)
        assert (refused.status_code, problem(refused)["code"]) == (429, "server_full")
        gate.open()
        assert held.result().status_code == 200
        assert server.embed(input=["dog " * 60] * 8).status_code == 200


def test_only_a_request_with_a_key_is_let_in(model):
    with running(settings_of(model, keys=ApiKeys(["one-key", "other-key"]))) as server:
        for given in (None, "Bearer wrong", "Bearer", "one-key", "Basic one-key", "Bearer one-ke\xff"):
            headers = {} if given is None else {"authorization": given.encode("latin-1")}
            for path in ("/v1/models", "/metrics"):
                answer = server.http.get(path, headers=headers)
                assert (answer.status_code, problem(answer)["code"]) == (401, "invalid_api_key")
        for key in ("one-key", "other-key"):
            assert server.http.get("/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == 200
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="other-key")
        assert len(client.embeddings.create(model="small", input=TEXTS).data) == 2
        assert [server.http.get(path).status_code for path in ("/health", "/ready", "/docs")] == [200] * 3


def test_logs_hold_neither_texts_nor_keys(model, caplog):
    caplog.set_level("INFO")
    with running(settings_of(model, keys=ApiKeys(["secret-key"]))) as server:
        headers = {"authorization": "Bearer secret-key"}
        server.post("/v1/embeddings", {"input": "private words"}, headers=headers)
        server.post("/v1/embeddings", {"input": ["private words", 3]}, headers=headers)
        server.post("/v1/embeddings", {"input": "private words"}, headers={"authorization": "Bearer stolen"})
        server.http.get("/v1/private?words=private", headers=headers)
    lines = [record for record in caplog.records if record.name == "reasonembed_server"]
    assert [line.fields["status"] for line in lines] == [200, 400, 401, 404]
    assert lines[0].fields["tokens"] > 0
    told = " ".join(str(record.__dict__) for record in lines)
    assert not [word for word in ("private", "secret", "stolen") if word in told]


def test_an_unforeseen_error_is_answered_without_its_message(model, caplog, monkeypatch):
    with running(settings_of(model)) as server:
        encoder = server.served.loaded[0].encoder

        def fail(*_args, **_kwargs):
            raise RuntimeError("private words")

        with monkeypatch.context() as patch:
            patch.setattr(encoder._engine, "run", fail)
            answer = server.embed(input="private words")
        assert (answer.status_code, problem(answer)["type"]) == (500, "server_error")
        assert "private" not in answer.text
        assert server.embed(input=TEXTS).status_code == 200
    from reasonembed_server.logs import JsonLines

    lines = [JsonLines().format(record) for record in caplog.records if record.name == "reasonembed_server"]
    assert any('"error": "RuntimeError"' in line for line in lines)
    assert "private" not in "".join(lines)
