"""LangChain's and LlamaIndex's models as callables."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer

pytest.importorskip("langchain_core")
pytest.importorskip("llama_index.core")


def test_a_langchain_model_answers_with_its_tokens():
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage

    from langchain_reasonembed import as_chat

    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    messages = [
        AIMessage("plain"),
        AIMessage("whole", usage_metadata=usage, response_metadata={"finish_reason": "stop"}),
        AIMessage("cut", response_metadata={"stop_reason": "max_tokens"}),
        AIMessage([{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]),
    ]
    chat = as_chat(GenericFakeChatModel(messages=iter(messages)))
    assert [chat("?") for _ in messages] == [
        Answer("plain"),
        Answer("whole", input_tokens=5, output_tokens=2),
        Answer("cut", truncated=True),
        Answer("in parts"),
    ]


def test_the_prompt_reaches_the_langchain_model_as_it_is():
    from langchain_core.language_models import FakeListChatModel

    from langchain_reasonembed import as_chat

    seen = []

    class Remembering(FakeListChatModel):
        def _call(self, messages, *args, **options):
            seen.extend(messages)
            return super()._call(messages, *args, **options)

    as_chat(Remembering(responses=["yes"]))("What {is} this?")
    assert [(message.type, message.content) for message in seen] == [("human", "What {is} this?")]


@pytest.fixture
def langchain(monkeypatch):
    """Stand in for the langchain package, whose init_chat_model is what the test makes of it."""

    def install(init) -> None:
        package, module = ModuleType("langchain"), ModuleType("langchain.chat_models")
        module.init_chat_model = init
        package.chat_models = module
        monkeypatch.setitem(sys.modules, "langchain", package)
        monkeypatch.setitem(sys.modules, "langchain.chat_models", module)

    return install


def test_a_model_is_opened_by_its_name_with_its_parameters_and_no_retries_of_its_own(langchain):
    from langchain_core.language_models import FakeListChatModel

    from langchain_reasonembed import open_chat

    asked = []

    def init(name: str, **settings):
        asked.append((name, settings))
        return FakeListChatModel(responses=["hello"])

    langchain(init)
    chat = open_chat("openai:gpt-4o-mini", parameters={"temperature": 0.1}, timeout=9.0)
    assert chat("?") == Answer("hello")
    assert asked == [("openai:gpt-4o-mini", {"temperature": 0.1, "timeout": 9.0, "max_retries": 0})]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImportError("langchain-openai"), r"\bopenal:gpt\b.*\blangchain-openai\b.*--base-url\b"),
        (ValueError("Unable to infer model provider"), r"\bopenal:gpt\b.*Unable to infer.*\bprovider:model\b"),
        (RuntimeError("The api_key client option must be set"), r"\bopenal:gpt\b.*\bapi_key\b.*\benvironment\b"),
    ],
    ids=["package", "name", "key"],
)
def test_a_model_that_cannot_be_had_is_refused_with_its_cure(langchain, error, message):
    from langchain_reasonembed import open_chat

    def init(name: str, **settings):
        raise error

    langchain(init)
    with pytest.raises(InputError, match=message):
        open_chat("openal:gpt")


def test_a_llama_index_model_answers():
    from llama_index.core.llms import MockLLM
    from llama_index.retrievers.reasonembed import as_chat

    answer = as_chat(MockLLM())("the prompt comes back")
    assert answer.text == "the prompt comes back"
    assert not answer.truncated


@pytest.mark.parametrize(
    ("raw", "more", "wanted"),
    [
        (
            {"usage": {"prompt_tokens": 5, "completion_tokens": 2}, "choices": [{"finish_reason": "length"}]},
            {},
            Answer("said", truncated=True, input_tokens=5, output_tokens=2),
        ),
        (
            SimpleNamespace(usage=SimpleNamespace(input_tokens=5, output_tokens=2), stop_reason="end_turn"),
            {},
            Answer("said", input_tokens=5, output_tokens=2),
        ),
        (None, {"prompt_tokens": 5, "completion_tokens": 2}, Answer("said", input_tokens=5, output_tokens=2)),
        (None, {}, Answer("said")),
    ],
    ids=["openai", "anthropic", "kwargs", "nothing"],
)
def test_the_tokens_of_llama_index_models_are_read_where_they_tell(raw, more, wanted):
    from llama_index.core.llms import CompletionResponse, MockLLM
    from llama_index.retrievers.reasonembed import as_chat

    class Telling(MockLLM):
        def complete(self, prompt, formatted=False, **options):
            return CompletionResponse(text="said", raw=raw, additional_kwargs=more)

    assert as_chat(Telling())("?") == wanted
