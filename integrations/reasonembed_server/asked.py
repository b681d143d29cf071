"""What a request asked for, for logs and metrics, and the checks that all endpoints share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from reasonembed_server.limits import Limits
from reasonembed_server.problems import ApiProblem

__all__ = ["Asked", "check_sizes", "check_tokens", "in_thread_if"]

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Asked:
    """What is told of a request: never its texts."""

    model: str | None = None
    texts: int | None = None
    tokens: int | None = None
    truncated: int | None = None


def check_sizes(asked: Asked, inputs: Sequence[str] | Sequence[Sequence[int]], limits: Limits, *, param: str) -> None:
    """Count the texts; raise ApiProblem for too many texts, and for one that is too long to be tokenised."""
    asked.texts = len(inputs)
    if len(inputs) > limits.texts:
        message = f"{param} has {len(inputs)} texts; want at most {limits.texts}: send them in several requests"
        raise ApiProblem(413, message, code="too_many_texts", param=param)
    for position, one in enumerate(inputs):
        if len(one) > limits.characters:
            unit = "characters" if isinstance(one, str) else "token ids"
            message = (
                f"{param}[{position}] has {len(one)} {unit}; want at most {limits.characters}: no model reads that "
                "many, split the text into passages"
            )
            raise ApiProblem(413, message, code="text_too_long", param=param)


def check_tokens(asked: Asked, limits: Limits, *, unread: int, max_length: int, truncate: bool, param: str) -> None:
    """Raise ApiProblem for texts that would be truncated unasked, and for too many tokens."""
    if asked.truncated and not truncate:
        message = (
            f"{asked.truncated} of {asked.texts} texts in {param} are longer than the {max_length} tokens that "
            f"{asked.model} reads, by {unread} tokens together; split them into passages, or send truncate=true"
        )
        raise ApiProblem(400, message, code="context_length_exceeded", param=param)
    if (asked.tokens or 0) > limits.tokens:
        message = f"{param} has {asked.tokens} tokens; want at most {limits.tokens}: send it in several requests"
        raise ApiProblem(413, message, code="too_many_tokens", param=param)


async def in_thread_if(large: bool, work: Callable[[], _Result]) -> _Result:
    """Return the result of work, which a thread does if it is large, so that other requests do not wait."""
    return await asyncio.to_thread(work) if large else work()
