"""The client of OpenAI-compatible servers, against servers on loopback."""

from __future__ import annotations

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.openai import OpenAIChat

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.requests.append((self.path, dict(self.headers), json.loads(self.rfile.read(size))))
        self.server.clients.add(self.client_address)
        if len(self.server.requests) == self.server.silent_at:
            self.server.answer.wait(timeout=30)
        status, body, headers = self.server.replies[min(len(self.server.requests), len(self.server.replies)) - 1]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def reply_with():
    """Serve these replies, one after the other, the last one for ever: reply_with((200, {...}), ...)."""
    servers = []

    def start(*replies):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        made = [
            (status, body if isinstance(body, bytes) else json.dumps(body).encode(), {}) for status, body in replies
        ]
        server.replies, server.requests, server.clients = made, [], set()
        server.silent_at, server.answer = None, threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        server.url = f"http://127.0.0.1:{server.server_port}/v1"
        return server

    yield start
    for server, thread in servers:
        server.answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(text: str, **more) -> dict:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop", **more}]}


def test_a_prompt_is_sent_as_one_user_message_with_parameters_and_key(reply_with):
    server = reply_with((200, _completion("hi")))
    OpenAIChat(server.url, "m", api_key="secret", parameters={"temperature": 0.7, "top_k": 40})("hello")
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.7,
        "top_k": 40,
    }


def test_without_a_key_none_is_sent_and_it_is_shown_nowhere(reply_with):
    server = reply_with((200, _completion("hi")))
    OpenAIChat(f"{server.url}/", "m")("hello")
    assert "Authorization" not in server.requests[0][1]
    assert "secret" not in repr(OpenAIChat(server.url, "m", api_key="secret"))


def test_text_tokens_and_truncation_are_read(reply_with):
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    server = reply_with(
        (200, {**_completion("long", finish_reason="length"), "usage": usage}),
        (200, _completion("short")),
        (200, {"choices": [{"message": {"content": None}}]}),
        (200, {"choices": [{"message": {"content": [{"type": "text", "text": "in "}, {"text": "parts"}]}}]}),
    )
    chat = OpenAIChat(server.url, "m")
    assert [chat("?") for _ in range(4)] == [
        Answer("long", truncated=True, input_tokens=3, output_tokens=4),
        Answer("short"),
        Answer(""),
        Answer("in parts"),
    ]


def test_one_thread_keeps_its_connection_even_over_errors(reply_with):
    server = reply_with((200, _completion("a")), (500, {"error": {"message": "oops"}}), (200, _completion("b")))
    chat = OpenAIChat(server.url, "m")
    chat("1")
    with pytest.raises(ChatError):
        chat("2")
    chat("3")
    assert len(server.clients) == 1


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (429, {"error": {"message": "slow down", "code": "rate_limit"}}, r"\b429\b.*slow down.*\brate_limit\b"),
        (400, {"message": "bad"}, r"\b400\b.*\bbad\b"),
        (500, b"<html>oops</html>", r"\b500\b.*<html>oops"),
        (302, b"", r"\b302\b"),
    ],
)
def test_an_error_carries_its_status_and_what_the_server_says(reply_with, status, body, message):
    with pytest.raises(ChatError, match=message) as caught:
        OpenAIChat(reply_with((status, body)).url, "m")("?")
    assert caught.value.status_code == status


def test_retry_after_is_passed_on(reply_with):
    server = reply_with((429, b"{}"))
    server.replies = [(429, b"{}", {"Retry-After": "7"})]
    with pytest.raises(ChatError) as caught:
        OpenAIChat(server.url, "m")("?")
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"no JSON", "JSONDecodeError.*no JSON"),
        (b"[]", r"TypeError.*\[\]"),
        (b"{}", "KeyError.*choices"),
        (b'{"choices": []}', r"IndexError.*'choices': \[\]"),
        (b'{"choices": [{"message": 3}]}', "AttributeError.*'message': 3"),
    ],
)
def test_what_is_no_completion_is_told(reply_with, body, problem):
    with pytest.raises(ChatError, match=problem) as caught:
        OpenAIChat(reply_with((200, body)).url, "m")("?")
    assert caught.value.status_code is None


def test_an_answer_cut_short_on_the_wire_is_none_and_the_next_call_works(reply_with):
    server = reply_with((200, _completion("a")))
    server.replies = [(200, b'{"cho', {"Content-Length": "500", "Connection": "close"}), *server.replies]
    chat = OpenAIChat(server.url, "m", timeout=5)
    with pytest.raises(http.client.IncompleteRead):
        chat("1")
    assert chat("2") == Answer("a")


def test_after_a_timeout_the_late_answer_is_not_taken_for_the_next_one(reply_with):
    server = reply_with((200, _completion("late")), (200, _completion("next")))
    server.silent_at = 1
    chat = OpenAIChat(server.url, "m", timeout=0.2)
    with pytest.raises(TimeoutError):
        chat("1")
    server.answer.set()
    assert chat("2") == Answer("next")


def test_a_server_that_is_not_there_is_a_connection_error():
    with pytest.raises(ConnectionError):
        OpenAIChat("http://127.0.0.1:9/v1", "m")("?")


def test_plain_http_goes_through_the_environments_proxy(reply_with, monkeypatch):
    server = reply_with((200, _completion("by proxy")))
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert OpenAIChat("http://models.example/v1", "m")("?") == Answer("by proxy")
    assert server.requests[0][0] == "http://models.example/v1/chat/completions"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert OpenAIChat(server.url, "m")("?") == Answer("by proxy")


def test_https_through_a_proxy_asks_it_for_a_tunnel(monkeypatch):
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    connection = OpenAIChat("https://models.example/v1", "m")._connect()
    assert (connection.host, connection.port) == ("proxy.example", 3128)
    assert connection._tunnel_host == "models.example"


@pytest.mark.parametrize("address", ["localhost:8000/v1", "", "ftp://host/v1", "http://", "http://host:port/v1"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(InputError, match=rf"\bbase_url\b.*{re.escape(repr(address.rstrip('/')))}"):
        OpenAIChat(address, "m")
