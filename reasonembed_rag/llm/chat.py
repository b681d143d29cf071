"""What a chat model is to this project: any callable from a prompt to its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["Answer", "Chat", "Tempered"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The text of a chat model, and the tokens it used where the model reports them."""

    text: str
    truncated: bool = False
    """Whether the text ends at the maximum number of output tokens."""
    input_tokens: int | None = None
    output_tokens: int | None = None


Chat = Callable[[str], str | Answer]
"""Answers one prompt; called from several threads at once. An exception means that the call failed; its
`status_code`, `retry_after` and `response.headers` are read if present, as the openai, anthropic and httpx packages set
them."""


@runtime_checkable
class Tempered(Protocol):
    """A chat model that can be asked at another temperature than its own."""

    def at_temperature(self, prompt: str, temperature: float) -> str | Answer:
        """Answer one prompt at this temperature."""
