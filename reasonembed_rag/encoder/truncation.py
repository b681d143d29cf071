"""Count texts that a model does not read whole: warnings that become rare as they repeat, or one summary per run.

They are longer than it reads, or in a script that its tokenizer does not know.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from reasonembed_rag.forks import ForkLock

__all__ = ["TruncationCounts", "collect_truncations", "report_truncation", "report_unknown", "truncations_so_far"]

_logger = logging.getLogger(__name__)

_CURE = (
    "split documents to what the model reads: passage_splitter, ReasonEmbedTextSplitter for LangChain, "
    "ReasonEmbedNodeParser or a smaller Settings.chunk_size for LlamaIndex, --passage-tokens of the command"
)


_UNKNOWN_CURE = "unlike texts get like vectors then; take a model for their languages, such as a multilingual one"


class TruncationCounts:
    """How many texts were truncated to each length in tokens, and how many of their tokens were not read."""

    def __init__(self) -> None:
        self.unknown = 0
        """The number of texts of whose tokens a third or more are unknown to the tokenizer."""
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
        """Return one sentence for each length, and one for unknown scripts."""
        return [*self.truncation_lines(), *self.unknown_lines()]

    def unknown_lines(self) -> list[str]:
        """Return a sentence if there were texts in unknown scripts."""
        texts = "text has" if self.unknown == 1 else "texts have"
        told = f"{self.unknown:,} {texts} many characters that the model's tokenizer does not know: {_UNKNOWN_CURE}"
        return [told] if self.unknown else []

    def truncation_lines(self) -> list[str]:
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
        lines = "; ".join(_uncollected.truncation_lines())
    if _digits(count) > _digits(count - truncated):
        _logger.warning("so far %s; %s; see truncations_so_far for what follows", lines, _CURE)


def report_unknown(unknown: int) -> None:
    """Add a call's texts in scripts that the tokenizer does not know; warn as report_truncation does."""
    if not unknown:
        return
    with _lock:
        for counts in _collectors or [_uncollected]:
            counts.unknown += unknown
        if _collectors:
            return
        count, lines = _uncollected.unknown, "; ".join(_uncollected.unknown_lines())
    if _digits(count) > _digits(count - unknown):
        _logger.warning("so far %s", lines)


def _digits(count: int) -> int:
    return len(str(count)) if count else 0
