"""One call of a chat model: rate-limited, retried, and cached before the answer is used."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from reasonembed_rag.errors import ChatError
from reasonembed_rag.llm.cache import CachedReply, ResponseCache
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.limits import RateLimiter
from reasonembed_rag.llm.model import ChatModel, answer_key, estimated_tokens
from reasonembed_rag.llm.retry import CallFailure, failure_of
from reasonembed_rag.llm.settings import CallSettings

__all__ = ["FAILED", "OVER_CONTEXT", "ChatClient", "ChatReply", "ChatRequest"]

OVER_CONTEXT = "over the model's context"
FAILED = "call failed"
_TOO_LONG = ("context", "prompt is too long", "too many tokens")
"""How servers refuse a prompt that is longer than the model reads."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A prompt; a repetition of the same prompt has another attempt."""

    prompt: str
    attempt: int = 0
    temperature: float | None = None
    """Replaces the model's own, where its chat can be asked at another (see Tempered)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """The answer to a request, or the reason why there is none."""

    answer: Answer | None = None
    failure: str | None = None
    permanent: bool = True
    """Whether a later run would meet the same failure."""
    retries: int = 0
    sent: bool = True
    """Whether the model was called in this run."""
    cached: bool = False
    """Whether it was called in an earlier run."""

    @property
    def reason(self) -> str:
        """Why there is no answer; one of few texts, under which failures are counted."""
        told = (self.failure or "").casefold()
        if self.permanent and any(words in told for words in _TOO_LONG):
            return OVER_CONTEXT
        return FAILED if self.permanent else "call failed, retryable"


class ChatClient:
    """Call one model for one stage of a program; threads may share it.

    After `stop` is set no further call is made; calls in flight are finished and cached.
    """

    def __init__(
        self,
        model: ChatModel,
        *,
        stage: str,
        cache: ResponseCache | None,
        settings: CallSettings,
        stop: threading.Event,
    ) -> None:
        self.model = model
        self.stage = stage
        self.settings = settings
        self.stop = stop
        self._cache = cache
        self._retry = settings.retry_policy()
        self._limiter = RateLimiter(
            requests_per_minute=model.settings.requests_per_minute,
            tokens_per_minute=model.settings.tokens_per_minute,
            rest=stop.wait,
        )

    def key(self, request: ChatRequest) -> bytes:
        """Return the cache key of a request."""
        return answer_key(
            self.model.settings,
            self.stage,
            request.prompt,
            attempt=request.attempt,
            temperature=request.temperature,
        )

    def cached(self, key: bytes) -> ChatReply | None:
        """Return the cached reply; None for a failure that is to be tried again."""
        found = self._cache.get(key) if self._cache is not None else None
        if found is None or (found.answer is None and self.settings.retry_failed):
            return None
        return ChatReply(answer=found.answer, failure=found.failure, sent=False, cached=True)

    def call(self, key: bytes, request: ChatRequest) -> ChatReply | None:
        """Return the reply to a request; None if the client was stopped before there was one.

        Raises ChatError where no call can succeed, StoreError where the cache cannot be written.
        """
        expected = estimated_tokens(request.prompt)
        model = self.model.settings
        if expected + model.max_output_tokens > model.context:
            return ChatReply(
                failure=f"about {expected} tokens and an answer exceed the context of {model.context}", sent=False
            )
        expected += model.max_output_tokens // 4  # few answers have the maximum length
        attempt = 0
        while not self.stop.is_set() and self._limiter.wait(expected):
            attempt += 1
            try:
                answer = self.model.answer(request.prompt, temperature=request.temperature)
            except Exception as error:  # noqa: BLE001 - any client's exception, classified below
                failure = failure_of(error)
            else:
                self._store(key, CachedReply(answer))
                used = (answer.input_tokens or 0) + (answer.output_tokens or 0)
                self._limiter.settle(expected=expected, used=used)
                return ChatReply(answer=answer, retries=attempt - 1)
            if failure.retry_after:
                self._limiter.pause(min(failure.retry_after, self._retry.longest_wait))
            wait = self._retry.next_wait(attempt, failure)
            if wait is None:
                return self._failed(key, failure, retries=attempt - 1)
            self.stop.wait(wait)
        return None

    def _failed(self, key: bytes, failure: CallFailure, *, retries: int) -> ChatReply:
        """Return the reply of a call that failed; cache it if permanent, raise ChatError if fatal."""
        if failure.kind == "fatal":
            raise ChatError(f"{self.model.settings.name} cannot be called ({failure.message}); {failure.cure}")
        permanent = failure.kind == "permanent"
        if permanent:
            self._store(key, CachedReply(None, failure.message))
        return ChatReply(failure=failure.message, permanent=permanent, retries=retries)

    def _store(self, key: bytes, reply: CachedReply) -> None:
        if self._cache is not None:
            self._cache.add(key, reply, stage=self.stage, model=self.model.settings.name)
