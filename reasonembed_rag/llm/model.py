"""A chat model as a stage uses it: what answers, under which name and parameters, within which limits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

from reasonembed_rag.llm.chat import Answer, Chat
from reasonembed_rag.llm.config import ChatModelConfig

__all__ = [
    "ChatModel",
    "answer_key",
    "estimated_tokens",
]

_BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A callable that answers prompts, and the settings it was made of.

    `complete` is called from as many threads as calls may be under way. Answers are kept under `config`'s name and
    parameters: give two models two names.
    """

    complete: Chat
    config: ChatModelConfig

    def answer(self, prompt: str) -> Answer:
        """Return the model's answer with its tokens counted, or estimated where the model does not tell."""
        said = self.complete(prompt)
        answer = said if isinstance(said, Answer) else Answer(said)
        answer = dataclasses.replace(answer, text=answer.text.encode(errors="replace").decode())  # no lone surrogates
        if answer.input_tokens is None:
            answer = dataclasses.replace(answer, input_tokens=estimated_tokens(prompt))
        if answer.output_tokens is None:
            answer = dataclasses.replace(answer, output_tokens=estimated_tokens(answer.text))
        return answer

    def identity(self) -> list[Any]:
        """Return what makes its answers its own, as plain data."""
        return [self.config.name, dict(self.config.parameters or {}), self.config.context]


def answer_key(model: ChatModelConfig, stage: str, prompt: str, *, attempt: int) -> bytes:
    """Return 16 bytes that differ with stage, model, parameters, prompt and attempt."""
    parts = [stage, model.name, dict(model.parameters or {}), prompt, attempt]
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).digest()


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: a quarter of its bytes."""
    return math.ceil(len(text.encode()) / _BYTES_A_TOKEN)
