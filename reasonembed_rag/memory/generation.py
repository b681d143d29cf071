"""Token by token: greedy and sampled generation behind a past, and its text in pieces that are final."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from reasonembed_rag.errors import InputError
from reasonembed_rag.memory.settings import want_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

__all__ = ["GenerationSettings", "choose_token", "final_pieces"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How an answer is generated; equal settings give equal answers on one machine."""

    max_tokens: int = 128
    temperature: float = 0.0
    """0: the likeliest token is taken each time."""
    top_p: float = 1.0
    """Sample among the likeliest tokens whose probabilities first sum to this."""
    seed: int = 0
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these strings."""

    def __post_init__(self) -> None:
        want_count("max_tokens", self.max_tokens, least=1)
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(f"temperature is {self.temperature!r}; want 0 for greedy, or a number above it")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p!r}; want a number above 0, at most 1")
        stop: Any = self.stop
        if not isinstance(stop, tuple) or not all(isinstance(one, str) and one for one in stop):
            raise InputError(f"stop is {stop!r}; want a tuple of strings that are not empty")


def choose_token(logits_V: Tensor, settings: GenerationSettings, generator: torch.Generator) -> int:
    """Return the next token's id: the likeliest, or one drawn by the settings."""
    if settings.temperature == 0:
        return int(logits_V.argmax())
    probabilities_V = torch.softmax(logits_V.float().cpu() / settings.temperature, dim=-1)
    sorted_V, ids_V = probabilities_V.sort(descending=True, stable=True)
    sorted_V[sorted_V.cumsum(dim=0) - sorted_V >= settings.top_p] = 0
    return int(ids_V[torch.multinomial(sorted_V, 1, generator=generator)])


def final_pieces(tokens: Iterator[int], decode: Callable[[list[int]], str], stop: tuple[str, ...]) -> Iterator[str]:
    """Yield the text of tokens in pieces that no later token changes, up to the first stop string.

    What may be the start of a stop string, or an incomplete character, waits for the next token.
    """
    ids: list[int] = []
    told = 0
    for token in tokens:
        ids.append(token)
        text = decode(ids)
        found = [place for one in stop if (place := text.find(one, max(0, told - len(one)))) >= 0]
        if found:
            if min(found) > told:
                yield text[told : min(found)]
            return
        end = len(text) - _waiting(text, stop)
        if end > told:
            yield text[told:end]
            told = end
    text = decode(ids) if ids else ""
    if len(text) > told:
        yield text[told:]


def _waiting(text: str, stop: tuple[str, ...]) -> int:
    """Return how many last characters may still change or become a stop string."""
    whole = text.rstrip("\ufffd")
    starts = [size for one in stop for size in range(1, len(one)) if whole.endswith(one[:size])]
    return len(text) - len(whole) + max(starts, default=0)
