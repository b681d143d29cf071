"""Many prompts in one call of a function."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest

from reasonembed_rag.errors import ChatError, InputError
from reasonembed_rag.llm.complete import complete_all
from reasonembed_rag.llm.openai import OpenAIChat
from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings

FAST = CallSettings(first_wait=0.0, concurrency=4)


class Model:
    """Answer in capitals, after the failures that a prompt has in store."""

    def __init__(self, failures: dict[str, list[Exception]] | None = None) -> None:
        self.failures = failures or {}
        self.calls: Counter[str] = Counter()

    def __call__(self, prompt: str) -> str:
        self.calls[prompt] += 1
        if self.failures.get(prompt):
            raise self.failures[prompt].pop(0)
        return prompt.upper()


def _texts(*arguments, **options) -> list[str]:
    return [answer.text for answer in complete_all(*arguments, **options)]


def test_answers_come_in_the_order_of_the_prompts_and_equal_prompts_are_sent_once():
    model = Model({"b": [TimeoutError()]})
    prompts = [*"cabbage", *map(str, range(50))]
    assert _texts(model, prompts, calls=FAST) == [prompt.upper() for prompt in prompts]
    assert model.calls["a"] == 1
    assert model.calls["b"] == 2
    assert complete_all(model, []) == []


def test_what_the_cache_holds_is_not_sent_again(tmp_path: Path):
    model, named = Model(), ChatModelSettings(name="m")
    path = tmp_path / "new" / "answers.sqlite"
    assert _texts(model, ["a", "b"], model=named, cache=path) == ["A", "B"]
    assert _texts(model, ["a", "b", "c"], model=named, cache=str(path)) == ["A", "B", "C"]
    assert model.calls == {"a": 1, "b": 1, "c": 1}
    hotter = ChatModelSettings(name="m", parameters={"temperature": 1.0})
    assert _texts(model, ["a"], model=hotter, cache=path) == ["A"]
    assert model.calls["a"] == 2


def test_an_openai_chat_is_cached_under_its_own_model_and_parameters(tmp_path: Path):
    sent = []

    def reply(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        return httpx.Response(200, json={"choices": [{"message": {"content": str(len(sent))}}]})

    def ask(model: str, temperature: float) -> list[str]:
        chat = OpenAIChat("http://h/v1", model, temperature=temperature, transport=httpx.MockTransport(reply))
        return _texts(chat, ["?"], cache=tmp_path / "answers.sqlite")

    assert [ask("m", 0.0), ask("m", 0.0), ask("m", 1.0), ask("n", 0.0), ask("m", 0.0)] == [
        ["1"],
        ["1"],
        ["2"],
        ["3"],
        ["1"],
    ]


def test_a_cache_needs_a_name_for_the_model(tmp_path: Path):
    with pytest.raises(InputError, match=r"\bmodel=ChatModelSettings\b"):
        complete_all(Model(), ["a"], cache=tmp_path / "answers.sqlite")
    assert not list(tmp_path.iterdir())


def test_a_prompt_without_an_answer_is_an_error_once_the_others_are_cached(tmp_path: Path):
    model = Model({"b": [ChatError("bad prompt", status_code=400)]})
    named = ChatModelSettings(name="m")
    with pytest.raises(ChatError, match=r"\b1\b.*\b3\b.*\bm\b.*bad prompt"):
        complete_all(model, ["a", "b", "c"], model=named, calls=FAST, cache=tmp_path / "answers.sqlite")
    again = CallSettings(retry_failed=True)
    assert _texts(model, ["a", "b", "c"], model=named, calls=again, cache=tmp_path / "answers.sqlite") == [
        "A",
        "B",
        "C",
    ]
    assert model.calls == {"a": 1, "b": 2, "c": 1}


def test_progress_is_reported_for_every_reply():
    seen = []
    complete_all(
        Model({"b": [TimeoutError()]}), ["a", "b"], calls=FAST, on_reply=lambda stats: seen.append(stats.calls)
    )
    assert seen == [1, 2]
