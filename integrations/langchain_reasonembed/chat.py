"""A LangChain chat model as a callable from prompts to answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer, Chat

__all__ = ["as_chat", "open_chat"]

_CUT_OFF = frozenset({"length", "max_tokens", "MAX_TOKENS"})
"""What providers call an answer that reached the maximum number of tokens."""
_LONGEST_MESSAGE = 200


def as_chat(model: BaseChatModel) -> Chat:
    """Return a callable that sends prompts to a chat model, whose own retries should be off."""

    def complete(prompt: str) -> Answer:
        message = model.invoke(prompt)
        usage = getattr(message, "usage_metadata", None) or {}
        facts = message.response_metadata
        finish = facts.get("finish_reason") or facts.get("stop_reason") or facts.get("done_reason")
        return Answer(
            str(message.text),
            truncated=finish in _CUT_OFF,
            input_tokens=usage.get("input_tokens"),
            output_tokens=usage.get("output_tokens"),
        )

    return complete


def open_chat(name: str, *, parameters: Mapping[str, Any] | None = None, timeout: float | None = None) -> Chat:
    """Return the chat model of LangChain's name for it, such as "openai:gpt-4o-mini" or "ollama:qwen3".

    parameters go to the provider's class as they are. Raises InputError for a name that LangChain does not know, a
    package that is missing, a missing API key and a parameter that the provider does not take.
    """
    try:
        from langchain.chat_models import init_chat_model

        model = init_chat_model(name, max_retries=0, timeout=timeout, **(parameters or {}))
    except ImportError as error:
        raise InputError(
            f"{name} needs more packages ({error}): pip install langchain and the provider's, such as "
            "langchain-openai; or name an OpenAI-compatible server: --base-url, or base_url in a file of settings"
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        reason = reason if len(reason) <= _LONGEST_MESSAGE else f"{reason[:_LONGEST_MESSAGE]}..."
        raise InputError(
            f"{name}: LangChain cannot create it ({reason}); want provider:model, such as "
            "openai:gpt-4o-mini, with the provider's API key in the environment, or name an OpenAI-compatible "
            "server: --base-url, or base_url in a file of settings"
        ) from error
    return as_chat(model)
