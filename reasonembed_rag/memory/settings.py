"""The settings of a latent model: what training chose, and what its memories depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reasonembed_rag.errors import InputError

__all__ = ["LatentSettings", "want_count"]

_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSettings:
    """Latent rows, LoRA and prompts; the prompts are those that training used."""

    latents: int = 8
    rank: int = 8
    """Rank of LoRA at latent positions; 0: rows alone are trained."""
    alpha: float = 16.0
    targets: tuple[str, ...] = _TARGETS
    """Names of the linear layers with LoRA."""
    question_template: str = "\nQuestion: {question}\nAnswer:"
    """What follows memories or texts; the answer follows it."""
    text_template: str = "{text}\n"
    """Each text, where answers are given from texts."""

    def __post_init__(self) -> None:
        for name, least in (("latents", 1), ("rank", 0)):
            want_count(name, getattr(self, name), least=least)
        if not self.alpha > 0:
            raise InputError(f"alpha is {self.alpha!r}; want a number above 0")
        for name, field in (("question_template", "{question}"), ("text_template", "{text}")):
            if getattr(self, name).count(field) != 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; want {field} in it exactly once")


def want_count(name: str, value: Any, *, least: int) -> None:
    """Raise InputError unless a value is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} is {value!r}; want a whole number of at least {least}")
