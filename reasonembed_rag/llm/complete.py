"""Answers to many prompts in one call: concurrency, retries, rate limits and a cache around any chat model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm.cache import ResponseCache
from reasonembed_rag.llm.chat import Answer, Chat
from reasonembed_rag.llm.client import ChatClient, ChatReply, ChatRequest
from reasonembed_rag.llm.model import ChatModel, settings_of
from reasonembed_rag.llm.runner import CallStats, ChatJob, run_jobs
from reasonembed_rag.llm.settings import CallSettings, ChatModelSettings

__all__ = ["complete_all"]

_STAGE = "complete"


def complete_all(
    chat: Chat,
    prompts: Iterable[str],
    *,
    model: ChatModelSettings | None = None,
    calls: CallSettings | None = None,
    cache: Path | str | None = None,
    on_reply: Callable[[CallStats], None] | None = None,
) -> list[Answer]:
    """Return the answers to prompts, in their order; equal prompts are sent once.

    `model` names the model for the cache and limits its rate; without it an OpenAIChat is cached under its own model
    and parameters. `calls` sets concurrency, retries and the circuit breaker. With `cache`, the path of a file, every
    answer is stored before it is used, and a later call with the same prompts sends only what is missing.

    Raises ChatError where a prompt has no answer after all retries, once the others are answered and cached; InputError
    for a cache and a chat without a name; StoreError for a cache that cannot be used.
    """
    settings = settings_of(chat, model, cached=cache is not None)
    stats = CallStats()
    with _opened(cache) as responses:
        client = ChatClient(
            ChatModel(chat, settings),
            stage=_STAGE,
            cache=responses,
            settings=calls or CallSettings(),
            stop=threading.Event(),
        )
        report = None if on_reply is None else lambda: on_reply(stats)
        replies = list(run_jobs(map(_job, prompts), client, stats=stats, on_reply=report))
    answers = [reply.answer for reply in replies if reply.answer is not None]
    if len(answers) < len(replies):
        kept = "in the cache: run again" if cache is not None else "lost without a cache"
        raise ChatError(
            f"{len(replies) - len(answers)} of {len(replies)} prompts have no answer, the last failure of "
            f"{settings.name} was: {stats.last_failure}; the other answers are {kept}"
        )
    return answers


def _job(prompt: str) -> ChatJob[ChatReply]:
    (reply,) = yield [ChatRequest(prompt)]
    return reply


@contextmanager
def _opened(cache: Path | str | None) -> Iterator[ResponseCache | None]:
    if cache is None:
        yield None
        return
    with ResponseCache.open(Path(cache)) as opened:
        yield opened
