"""Count texts that were longer than a model reads: one warning per call, or one summary per run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["TruncationCounts", "collect_truncations", "report_truncation"]

_logger = logging.getLogger(__name__)
_lock = threading.Lock()
_collectors: list[TruncationCounts] = []


class TruncationCounts:
    """How many texts were truncated to each length in tokens while the block of collect_truncations ran."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    @property
    def by_length(self) -> Mapping[int, int]:
        """The number of truncated texts for each maximum length, in tokens."""
        return dict(self._counts)

    def add(self, truncated: int, *, max_length: int) -> None:
        """Count texts that were truncated to a length."""
        self._counts[max_length] = self._counts.get(max_length, 0) + truncated

    def lines(self) -> list[str]:
        """Return one sentence for each length."""
        return [f"{count:,} texts were truncated to {length:,} tokens" for length, count in self._counts.items()]


@contextmanager
def collect_truncations() -> Iterator[TruncationCounts]:
    """Collect the truncations of every encoder in this process instead of logging a warning for each call."""
    counts = TruncationCounts()
    with _lock:
        _collectors.append(counts)
    try:
        yield counts
    finally:
        with _lock:
            _collectors.remove(counts)


def report_truncation(truncated: int, *, texts: int, max_length: int) -> None:
    """Add a call's truncated texts to the open collections; without one, log a warning."""
    if not truncated:
        return
    with _lock:
        for counts in _collectors:
            counts.add(truncated, max_length=max_length)
        collected = bool(_collectors)
    if not collected:
        _logger.warning("%d of %d texts were truncated to %d tokens", truncated, texts, max_length)
