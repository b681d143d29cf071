"""A LlamaIndex LLM as a callable from prompts to answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.llms import LLM

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm import Answer, Chat, ChatModelSettings, served_chat

__all__ = ["as_chat", "open_named_chat"]

_OPENAI = "openai:"
_OPENAI_URL = "https://api.openai.com/v1"


def as_chat(llm: LLM) -> Chat:
    """Return a callable that sends prompts to an LLM, whose own retries should be off."""

    def complete(prompt: str) -> Answer:
        response = llm.complete(prompt)
        raw = response.raw
        usage = _field(raw, "usage") or response.additional_kwargs
        choice = next(iter(_field(raw, "choices") or ()), None)
        finish = _field(choice, "finish_reason") or _field(raw, "stop_reason") or _field(raw, "done_reason")
        return Answer(
            response.text,
            truncated=finish in {"length", "max_tokens"},
            input_tokens=_count(usage, "prompt_tokens", "input_tokens"),
            output_tokens=_count(usage, "completion_tokens", "output_tokens"),
        )

    return complete


def open_named_chat(settings: ChatModelSettings) -> Chat:
    """Return the chat model of a server, or of OpenAI for "openai:NAME"; raises InputError for any other name."""
    if settings.base_url is not None:
        return served_chat(settings)
    if not settings.name.startswith(_OPENAI):
        raise InputError(
            f"{settings.name} names no server; want openai:NAME, a base_url in the pipeline's [chat] table, or an "
            "LLM of LlamaIndex's: chat=..."
        )
    return served_chat(replace(settings, name=settings.name.removeprefix(_OPENAI), base_url=_OPENAI_URL))


def _field(holder: Any, name: str) -> Any:
    """Return a field of a mapping or object, None where there is none."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _count(usage: Any, *names: str) -> int | None:
    counts = (_field(usage, name) for name in names)
    return next((count for count in counts if isinstance(count, int)), None)
