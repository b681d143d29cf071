"""A callback that records what a LangChain component retrieved, its prompts, and its model calls and tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

__all__ = ["Listener"]


class Listener(BaseCallbackHandler):
    """Record retrieved documents, prompts, and calls and tokens of language models."""

    run_inline = True

    def __init__(self) -> None:
        self.retrieved: list[Sequence[Document]] = []
        self.prompts: list[str] = []
        self.calls = 0
        self.tokens: int | None = None

    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **_rest: Any) -> None:
        """Keep the documents."""
        del run_id
        self.retrieved.append(documents)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], **_rest: Any) -> None:
        """Keep the prompts."""
        del serialized
        self.calls += len(prompts)
        self.prompts += prompts

    def on_chat_model_start(self, serialized: dict[str, Any], messages: list[list[BaseMessage]], **_rest: Any) -> None:
        """Keep the messages' texts."""
        del serialized
        self.calls += len(messages)
        self.prompts += ["\n".join(message.text for message in prompt) for prompt in messages]

    def on_llm_end(self, response: LLMResult, **_rest: Any) -> None:
        """Count the tokens."""
        for generations in response.generations:
            for generation in generations[:1]:
                message = generation.message if isinstance(generation, ChatGeneration) else None
                used = getattr(message, "usage_metadata", None)
                if used:
                    self.tokens = (self.tokens or 0) + int(used["total_tokens"])
