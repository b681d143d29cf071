"""Asking a chat model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.llm.cache import Journal
    from reasonembed_rag.llm.chat import Answer, Chat
    from reasonembed_rag.llm.client import FAILED, OVER_CONTEXT, Ask, Caller, Reply
    from reasonembed_rag.llm.config import CallConfig, ChatModelConfig, Spent
    from reasonembed_rag.llm.model import ChatModel, answer_key, estimated_tokens
    from reasonembed_rag.llm.openai import OpenAIChat
    from reasonembed_rag.llm.runner import Job, Tally, run_jobs

__all__ = [
    "FAILED",
    "OVER_CONTEXT",
    "Answer",
    "Ask",
    "CallConfig",
    "Caller",
    "Chat",
    "ChatModel",
    "ChatModelConfig",
    "Job",
    "Journal",
    "OpenAIChat",
    "Reply",
    "Spent",
    "Tally",
    "answer_key",
    "estimated_tokens",
    "run_jobs",
]

__getattr__, __dir__ = lazy_face(
    __name__,
    {
        "cache": ("Journal",),
        "chat": ("Answer", "Chat"),
        "client": ("Ask", "Caller", "FAILED", "OVER_CONTEXT", "Reply"),
        "config": ("CallConfig", "ChatModelConfig", "Spent"),
        "model": ("ChatModel", "answer_key", "estimated_tokens"),
        "openai": ("OpenAIChat",),
        "runner": ("Job", "Tally", "run_jobs"),
    },
)
