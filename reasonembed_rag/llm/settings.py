"""Settings of a chat model and of the calls to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasonembed_rag.errors import InputError
from reasonembed_rag.llm.retry import RetryPolicy

__all__ = ["CallSettings", "ChatModelSettings", "TokenUsage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModelSettings:
    """A chat model, its sampling parameters, limits and prices; raises InputError for values that cannot be used."""

    name: str
    base_url: str | None = None
    """An OpenAI-compatible server; None: the name is one for LangChain's init_chat_model."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable of the server's key."""
    parameters: Mapping[str, Any] | None = None
    """Sent with every request (temperature, max_tokens, ...); None: the caller's defaults."""
    context: int = 32_768
    """Maximum tokens of prompt and answer together."""
    timeout: float = 300.0
    """Seconds to wait for an answer."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_price: float | None = None
    """Per million tokens, in any currency; with output_price, costs are reported."""
    output_price: float | None = None

    def __post_init__(self) -> None:
        _want(bool(self.name.strip()), "model.name is empty; want the name of a chat model")
        _want(self.context >= 1, f"model.context is {self.context}; want at least 1")
        _want(self.timeout > 0, f"model.timeout is {self.timeout}; want seconds above 0")
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            _want(limit is None or limit >= 1, f"model.{name} is {limit}; want at least 1")
        _want(
            (self.input_price is None) == (self.output_price is None),
            "model: has one of input_price and output_price; want both or none",
        )
        _want(
            min(self.input_price or 0.0, self.output_price or 0.0) >= 0,
            f"model: prices are {self.input_price} and {self.output_price}; want at least 0",
        )

    @property
    def max_output_tokens(self) -> int:
        """The maximum length of an answer if the parameters limit it, else 0."""
        parameters = self.parameters or {}
        limits = [parameters.get(name) for name in ("max_tokens", "max_completion_tokens", "num_predict")]
        return next((limit for limit in limits if isinstance(limit, int) and limit > 0), 0)

    def cost(self, *, input_tokens: int, output_tokens: int) -> float | None:
        """Return the price of these tokens, None without prices."""
        if self.input_price is None or self.output_price is None:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """How many calls are made at once, and what happens when they fail; raises InputError for unusable values."""

    concurrency: int = 16
    """Calls in flight at once."""
    attempts: int = 6
    """Calls made for a prompt before a retryable failure (429, 5xx, timeout, lost connection) counts."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled for each further one."""
    longest_wait: float = 60.0
    """Upper bound of every wait, Retry-After included."""
    asked_again: int = 1
    """Times that a prompt is sent again because its answer could not be parsed."""
    retry_failed: bool = False
    """Whether prompts that failed permanently in an earlier run are sent once more."""
    max_failure_share: float = 0.5
    """The circuit breaker: the share of failures among the last 100 calls (at least 20) at which the run stops."""

    def __post_init__(self) -> None:
        _want(self.concurrency >= 1, f"calls.concurrency is {self.concurrency}; want at least 1")
        _want(self.asked_again >= 0, f"calls.asked_again is {self.asked_again}; want at least 0")
        _want(
            0 < self.max_failure_share <= 1,
            f"calls.max_failure_share is {self.max_failure_share}; want a share above 0, at most 1",
        )
        try:
            self.retry_policy()
        except InputError as error:
            raise InputError(f"calls: {error}") from error

    def retry_policy(self) -> RetryPolicy:
        """Return the retry policy of these calls."""
        return RetryPolicy(attempts=self.attempts, first_wait=self.first_wait, longest_wait=self.longest_wait)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Answered calls, their tokens and, with prices, their cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


def _want(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)
