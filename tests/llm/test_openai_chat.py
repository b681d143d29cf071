"""The client of OpenAI-compatible servers, against servers on loopback."""

from __future__ import annotations

import asyncio
import json
import re

import httpx
import pytest

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.openai import OpenAIChat
from reasonembed_rag.llm.retry import failure_of

pytestmark = [pytest.mark.loopback, pytest.mark.usefixtures("socket_enabled")]


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


def test_another_temperature_replaces_its_own_for_one_call(reply_with):
    server = reply_with((200, _completion("hi")))
    chat = OpenAIChat(server.url, "m", temperature=0.7)
    assert chat.at_temperature("hello", 0.9) == Answer("hi")
    chat("hello")
    assert [body["temperature"] for _, _, body in server.requests] == [0.9, 0.7]


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
        (b'{"choices": []}', r"IndexError.*\"choices\": \[\]"),
        (b'{"choices": [{"message": 3}]}', 'AttributeError.*"message": 3'),
    ],
)
def test_a_reply_that_is_not_a_completion_is_a_chat_error(reply_with, body, problem):
    with pytest.raises(ChatError, match=problem) as caught:
        OpenAIChat(reply_with((200, body)).url, "m")("?")
    assert caught.value.status_code is None


def test_an_answer_cut_short_on_the_wire_is_none_and_the_next_call_works(reply_with):
    server = reply_with((200, _completion("a")))
    server.replies = [(200, b'{"cho', {"Content-Length": "500", "Connection": "close"}), *server.replies]
    chat = OpenAIChat(server.url, "m", timeout=5)
    with pytest.raises(ChatError, match="RemoteProtocolError") as caught:
        chat("1")
    assert failure_of(caught.value).kind == "retryable"
    assert chat("2") == Answer("a")


def test_after_a_timeout_the_late_answer_is_not_taken_for_the_next_one(reply_with):
    server = reply_with((200, _completion("late")), (200, _completion("next")))
    server.silent_at = 1
    chat = OpenAIChat(server.url, "m", timeout=1.5)
    with pytest.raises(ChatError, match=r"\b1\.5\b.*ReadTimeout"):
        chat("1")
    server.answer.set()
    assert chat("2") == Answer("next")


def test_a_server_that_is_not_there_is_a_retryable_error():
    with pytest.raises(ChatError, match=r"http://127\.0\.0\.1:9/v1.*ConnectError") as caught:
        OpenAIChat("http://127.0.0.1:9/v1", "m")("?")
    assert failure_of(caught.value).kind == "retryable"


def test_plain_http_goes_through_the_environments_proxy(reply_with, monkeypatch):
    server = reply_with((200, _completion("by proxy")))
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    assert OpenAIChat("http://models.example/v1", "m")("?") == Answer("by proxy")
    assert server.requests[0][0] == "http://models.example/v1/chat/completions"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert OpenAIChat(server.url, "m")("?") == Answer("by proxy")


def test_https_through_a_proxy_asks_it_for_a_tunnel(reply_with, monkeypatch):
    server = reply_with((200, b""))
    monkeypatch.setenv("https_proxy", server.url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ChatError, match=r"ProxyError.*\b501\b"):  # the server knows no CONNECT
        OpenAIChat("https://models.example/v1", "m")("?")


def test_the_key_is_in_no_repr_and_no_error(reply_with):
    chat = OpenAIChat(reply_with((401, {"error": {"message": "wrong key sk-geheim"}})).url, "m", api_key="sk-geheim")
    with pytest.raises(ChatError, match=r"wrong key \*\*\*") as caught:
        chat("?")
    shown = [repr(chat), repr(vars(chat)), repr(vars(chat._api)), str(caught.value), repr(caught.value.__cause__)]
    assert not [text for text in shown if "geheim" in text]


@pytest.mark.parametrize("key", ["", "sk-geheim\n", "sk geheim", "sk-geheim\u00e9"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str):
    with pytest.raises(InputError, match=r"\bapi_key\b") as caught:
        OpenAIChat("http://host/v1", "m", api_key=key)
    assert "geheim" not in str(caught.value)


def test_temperature_and_max_tokens_are_parameters_and_given_once():
    bodies = []

    def reply(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=_completion("hi"))

    chat = OpenAIChat("http://host/v1", "m", temperature=0.0, max_tokens=9, transport=httpx.MockTransport(reply))
    assert chat("?") == Answer("hi")
    assert (bodies[0]["temperature"], bodies[0]["max_tokens"]) == (0.0, 9)
    with pytest.raises(InputError, match="temperature"):
        OpenAIChat("http://host/v1", "m", temperature=0.0, parameters={"temperature": 1.0})


def test_async_answers_and_errors_are_those_of_a_call_and_do_not_block(reply_with):
    server = reply_with((200, _completion("slow")))
    server.silent_at = 1
    chat = OpenAIChat(server.url, "m")

    async def ask() -> tuple[Answer, Answer]:
        first = asyncio.create_task(chat.acomplete("1"))
        await asyncio.to_thread(server.asked.wait, 30)
        second = await chat.acomplete("2")  # is answered while the first one waits
        server.answer.set()
        got = await first, second
        server.replies = [(400, b"no", {})]
        with pytest.raises(ChatError, match=r"\b400\b"):
            await chat.acomplete("3")
        await chat.aclose()
        return got

    assert asyncio.run(ask()) == (Answer("slow"), Answer("slow"))


def test_many_event_loops_may_use_one_chat(reply_with):
    chat = OpenAIChat(reply_with((200, _completion("hi"))).url, "m")
    assert [asyncio.run(chat.acomplete("?")) for _ in range(2)] == [Answer("hi")] * 2


def test_a_closed_chat_says_so(reply_with):
    with OpenAIChat(reply_with((200, _completion("hi"))).url, "m") as chat:
        chat("?")
    with pytest.raises(ChatError, match="closed"):
        chat("?")


@pytest.mark.parametrize("address", ["http://me:geheim@host/v1", "http://host/v1?key=geheim"])
def test_a_url_with_a_secret_in_it_is_refused_without_showing_it(address: str):
    with pytest.raises(InputError, match=r"\bbase_url\b.*\bapi_key\b") as caught:
        OpenAIChat(address, "m")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("address", ["localhost:8000/v1", "", "ftp://host/v1", "http://", "http://host:port/v1"])
def test_what_is_no_address_is_refused(address: str):
    with pytest.raises(InputError, match=rf"\bbase_url\b.*{re.escape(repr(address))}"):
        OpenAIChat(address, "m")
