"""Count the tokens that an embedder encodes for one purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reasonembed_rag.protocols import Embedder, TokenCounter

__all__ = ["TokenMeter"]


class TokenMeter:
    """Add up the tokens encoded during some blocks; None where the embedder does not count tokens."""

    def __init__(self) -> None:
        self.tokens: int | None = None

    @contextmanager
    def counting(self, embedder: Embedder) -> Iterator[None]:
        """Add the tokens that the embedder encodes while the block runs, those of other threads included."""
        before = embedder.tokens_encoded if isinstance(embedder, TokenCounter) else 0
        yield
        if isinstance(embedder, TokenCounter):
            self.tokens = (self.tokens or 0) + embedder.tokens_encoded - before
