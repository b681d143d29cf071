"""What a chat model is to this project: any callable from a prompt to its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Answer", "Chat"]


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
