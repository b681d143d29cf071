"""Limits of a server: what one request may ask for, and what may wait at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from reasonembed_rag.errors import InputError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on requests; raises InputError for values that cannot be used."""

    body_bytes: int = 16 << 20
    """Bytes of one request."""
    held_bytes: int = 256 << 20
    """Bytes of all requests that are read or answered at once; more are told to come back later."""
    texts: int = 2048
    """Texts of one request: inputs, documents to rerank, questions."""
    characters: int = 1 << 20
    """Characters of one text."""
    tokens: int = 1 << 18
    """Tokens of one request."""
    queue_tokens: int = 1 << 19
    """Tokens that may wait for one model; more are told to come back later."""
    searches: int = 256
    """Questions that may wait for one index."""
    hits: int = 1000
    """Documents that one question may ask for."""
    body_s: float = 30.0
    """Seconds in which a request must have arrived."""
    answer_s: float = 120.0
    """Seconds in which an answer must be ready."""
    grace_s: float = 60.0
    """Seconds that requests get to finish when the server is stopped."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) <= 0:
                raise InputError(f"{field.name} is {getattr(self, field.name)}; want more than 0")
        if self.queue_tokens < self.tokens:
            raise InputError(f"queue_tokens is {self.queue_tokens}; want at least tokens, which is {self.tokens}")
        if self.held_bytes < self.body_bytes:
            raise InputError(f"held_bytes is {self.held_bytes}; want at least body_bytes, which is {self.body_bytes}")
