"""What a chat model is to this project: any callable from a prompt to its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Answer", "Chat"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chat model said, and what it used where it tells."""

    text: str
    truncated: bool = False
    """Whether it was cut off at its longest length."""
    input_tokens: int | None = None
    output_tokens: int | None = None


Chat = Callable[[str], str | Answer]
"""Answers one prompt; called from several threads at once. An exception is an answer that did not come: `status_code`,
`retry_after` and `response.headers` of it are read where it has them, as those of the openai, anthropic and httpx
packages do."""
