"""A chat model together with the settings under which its answers are cached, limited and priced."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm.chat import Answer, Chat, Tempered
from reasonembed_rag.llm.openai import OpenAIChat
from reasonembed_rag.llm.settings import ChatModelSettings

__all__ = [
    "ChatModel",
    "answer_key",
    "estimated_tokens",
    "settings_of",
]

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A callable that answers prompts, and its settings.

    `complete` is called from `concurrency` threads. Answers are cached under the settings' name and parameters: give
    two models two names.
    """

    complete: Chat
    settings: ChatModelSettings

    def answer(self, prompt: str, *, temperature: float | None = None) -> Answer:
        """Return the model's answer; tokens that the model does not report are estimated.

        A chat that is not Tempered ignores the temperature.
        """
        chat: object = self.complete
        reply: str | Answer
        if temperature is not None and isinstance(chat, Tempered):
            reply = chat.at_temperature(prompt, temperature)
        else:
            reply = self.complete(prompt)
        answer = reply if isinstance(reply, Answer) else Answer(reply)
        answer = dataclasses.replace(answer, text=answer.text.encode(errors="replace").decode())  # no lone surrogates
        if answer.input_tokens is None:
            answer = dataclasses.replace(answer, input_tokens=estimated_tokens(prompt))
        if answer.output_tokens is None:
            answer = dataclasses.replace(answer, output_tokens=estimated_tokens(answer.text))
        return answer

    def identity(self) -> list[Any]:
        """Return what determines its answers, as plain data."""
        return [self.settings.name, dict(self.settings.parameters or {}), self.settings.context]


def settings_of(chat: Chat, given: ChatModelSettings | None, *, cached: bool) -> ChatModelSettings:
    """Return the settings of a chat model, those given or those that an OpenAIChat has of its own.

    Raises InputError for a model whose answers are to be cached and that has no name.
    """
    if isinstance(chat, OpenAIChat):
        model = given or ChatModelSettings(name=chat.model, base_url=chat.base_url)
        return dataclasses.replace(model, parameters=chat.parameters) if model.parameters is None else model
    if given is None and cached:
        raise InputError(
            "cache is given, but the chat model has no name to store answers under; want "
            "model=ChatModelSettings(name=..., parameters=...)"
        )
    return given or ChatModelSettings(name=type(chat).__name__)


def answer_key(
    model: ChatModelSettings, stage: str, prompt: str, *, attempt: int, temperature: float | None = None
) -> bytes:
    """Return the cache key (16 bytes) of a prompt: a hash of stage, model, parameters, prompt and attempt."""
    parts = [stage, model.name, dict(model.parameters or {}), prompt, attempt]
    if temperature is not None:
        parts.append(temperature)
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).digest()


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text: a quarter of its bytes."""
    return math.ceil(len(text.encode()) / _BYTES_PER_TOKEN)
