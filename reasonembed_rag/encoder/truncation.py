"""Count texts that were longer than a model reads: warnings that become rare as they repeat, or one summary per run."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reasonembed_rag.forks import ForkLock

__all__ = ["TruncationCounts", "collect_truncations", "report_truncation", "truncations_so_far"]

_logger = logging.getLogger(__name__)

_CURE = (
    "split documents to what the model reads: passage_splitter, ReasonEmbedTextSplitter for LangChain, "
    "ReasonEmbedNodeParser or a smaller Settings.chunk_size for LlamaIndex, --passage-tokens of the command"
)


class TruncationCounts:
    """How many texts were truncated to each length in tokens, and how many of their tokens were not read."""

    def __init__(self) -> None:
        self._texts: Counter[int] = Counter()
        self._tokens: Counter[int] = Counter()

    @property
    def by_length(self) -> Mapping[int, int]:
        """The number of truncated texts for each maximum length, in tokens."""
        return dict(self._texts)

    @property
    def tokens(self) -> int:
        """The number of tokens that were not read."""
        return self._tokens.total()

    def add(self, truncated: int, *, max_length: int, tokens: int) -> None:
        """Count texts that were truncated to a length, and their tokens beyond it."""
        self._texts[max_length] += truncated
        self._tokens[max_length] += tokens

    def lines(self) -> list[str]:
        """Return one sentence for each length."""
        return [
            f"{count:,} {'text was' if count == 1 else 'texts were'} truncated to {length:,} tokens, "
            f"{self._tokens[length]:,} more were not read"
            for length, count in self._texts.items()
        ]


_lock = ForkLock()
_collectors: list[TruncationCounts] = []
_uncollected = TruncationCounts()


def truncations_so_far() -> TruncationCounts:
    """Return the truncations in this process until now, without those that collect_truncations collected."""
    with _lock:
        return copy.deepcopy(_uncollected)


@contextmanager
def collect_truncations() -> Iterator[TruncationCounts]:
    """Collect the truncations of every encoder in this process instead of logging warnings."""
    counts = TruncationCounts()
    with _lock:
        _collectors.append(counts)
    try:
        yield counts
    finally:
        with _lock:
            _collectors.remove(counts)


def report_truncation(truncated: int, *, max_length: int, tokens: int) -> None:
    """Add a call's truncated texts, and their tokens beyond the length, to the open collections.

    Without one they are counted for the process. A warning is logged for the first, and when their number reaches ten,
    a hundred and so on: frameworks embed in small batches, and a warning for each would bury all others.
    """
    if not truncated:
        return
    with _lock:
        for counts in _collectors or [_uncollected]:
            counts.add(truncated, max_length=max_length, tokens=tokens)
        if _collectors:
            return
        count = sum(_uncollected.by_length.values())
        lines = "; ".join(_uncollected.lines())
    if _digits(count) > _digits(count - truncated):
        _logger.warning("so far %s; %s; see truncations_so_far for what follows", lines, _CURE)


def _digits(count: int) -> int:
    return len(str(count)) if count else 0
