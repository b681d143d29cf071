"""Calling chat models: an OpenAI-compatible client, one retry policy, rate limits, a response cache, a runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_rag.llm.api_client import ApiClient
    from reasonembed_rag.llm.cache import CachedReply, ResponseCache
    from reasonembed_rag.llm.chat import Answer, Chat, Tempered
    from reasonembed_rag.llm.client import FAILED, OVER_CONTEXT, ChatClient, ChatReply, ChatRequest
    from reasonembed_rag.llm.complete import complete_all
    from reasonembed_rag.llm.first_answers import FirstAnswers, SeenAnswer
    from reasonembed_rag.llm.guard import AnswerGuard, ReadAnswer, enclosed, refuses, without_thoughts
    from reasonembed_rag.llm.model import ChatModel, answer_key, estimated_tokens, settings_of
    from reasonembed_rag.llm.openai import OpenAIChat, served_chat
    from reasonembed_rag.llm.retry import CallFailure, RetryPolicy, failure_of, with_retries
    from reasonembed_rag.llm.runner import CallStats, ChatJob, run_jobs
    from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings, TokenUsage
    from reasonembed_rag.llm.stage import ChatAccess, ChatStage, StageReport, StageRequest

__all__ = [
    "FAILED",
    "OVER_CONTEXT",
    "Answer",
    "AnswerGuard",
    "ApiClient",
    "CachedReply",
    "CallFailure",
    "CallSettings",
    "CallStats",
    "Chat",
    "ChatAccess",
    "ChatClient",
    "ChatJob",
    "ChatModel",
    "ChatModelSettings",
    "ChatReply",
    "ChatRequest",
    "ChatStage",
    "FirstAnswers",
    "OpenAIChat",
    "ReadAnswer",
    "ResponseCache",
    "RetryPolicy",
    "SeenAnswer",
    "StageReport",
    "StageRequest",
    "Tempered",
    "TokenUsage",
    "answer_key",
    "complete_all",
    "enclosed",
    "estimated_tokens",
    "failure_of",
    "refuses",
    "run_jobs",
    "served_chat",
    "settings_of",
    "with_retries",
    "without_thoughts",
]

__getattr__, __dir__ = lazy_face(__name__)
