"""A LlamaIndex LLM as a callable from prompts to answers."""

from __future__ import annotations

from typing import Any

from llama_index.core.llms import LLM

from reasonembed_rag.llm import Answer, Chat

__all__ = ["as_chat"]


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


def _field(holder: Any, name: str) -> Any:
    """Return a field of a mapping or object, None where there is none."""
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)


def _count(usage: Any, *names: str) -> int | None:
    counts = (_field(usage, name) for name in names)
    return next((count for count in counts if isinstance(count, int)), None)
