"""Settings of a chat model and of the calls to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reasonembed_rag.errors import TrainingError

__all__ = ["CallConfig", "ChatModelConfig", "Spent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatModelConfig:
    """[model] for all stages, [models.STAGE] for one: a chat model and what it may be asked."""

    name: str
    base_url: str | None = None
    """An OpenAI-compatible server; left out, the name is one for LangChain's init_chat_model."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable of the server's key."""
    parameters: Mapping[str, Any] | None = None
    """What requests carry (temperature, max_tokens, ...); left out, the stage's own."""
    context: int = 32_768
    """Tokens that prompt and answer may have together."""
    timeout: float = 300.0
    """Seconds to wait for an answer."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_price: float | None = None
    """Of a million tokens, in any currency; with output_price, costs are told."""
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
    def longest_answer(self) -> int:
        """Tokens that an answer may have, as far as the parameters tell."""
        parameters = self.parameters or {}
        limits = [parameters.get(name) for name in ("max_tokens", "max_completion_tokens", "num_predict")]
        return next((limit for limit in limits if isinstance(limit, int) and limit > 0), 0)

    def cost(self, *, input_tokens: int, output_tokens: int) -> float | None:
        """Return what tokens cost, None where no prices are given."""
        if self.input_price is None or self.output_price is None:
            return None
        return (input_tokens * self.input_price + output_tokens * self.output_price) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallConfig:
    """[calls]: how models are asked."""

    concurrency: int = 16
    """Calls under way at once."""
    attempts: int = 6
    """Times a call is made before a passing failure (429, 5xx, timeout, lost connection) counts."""
    first_wait: float = 1.0
    """Seconds before the second attempt, at most; doubled for every further one."""
    longest_wait: float = 60.0
    """Of any wait, one that the server asks for with Retry-After included."""
    asked_again: int = 1
    """Times that an answer nothing can be made of is asked for again."""
    retry_failed: bool = False
    """Whether calls that failed for good in an earlier run are made once more."""
    fuse: float = 0.5
    """Share of failures among the last hundred calls (at least twenty) at which the run stops."""

    def __post_init__(self) -> None:
        for name in ("concurrency", "attempts"):
            _want(getattr(self, name) >= 1, f"calls.{name} is {getattr(self, name)}; want at least 1")
        _want(
            0 <= self.first_wait <= self.longest_wait,
            f"calls: first_wait is {self.first_wait} and longest_wait {self.longest_wait}; want 0 <= first <= longest",
        )
        _want(self.asked_again >= 0, f"calls.asked_again is {self.asked_again}; want at least 0")
        _want(0 < self.fuse <= 1, f"calls.fuse is {self.fuse}; want a share above 0, at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Answered calls, their tokens and, where prices are known, their cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


def _want(condition: bool, message: str) -> None:
    if not condition:
        raise TrainingError(message)
