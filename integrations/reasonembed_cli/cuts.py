"""How many texts were cut to what a model takes, told once and not for every call of the encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["cuts_told_once"]

_ENCODERS = ("reasonembed_rag.encoder.encoder", "reasonembed_rag.encoder.remote")
_CUT = "texts were cut to %d tokens"


class _Sum(logging.Filter):
    """Keep back the encoders' warnings of cut texts and add up their numbers, by the length that they were cut to."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: dict[int, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if _CUT not in str(record.msg) or not isinstance(record.args, tuple):
            return True
        match record.args:
            case (int() as cut, _, int() as length):
                self.cut[length] = self.cut.get(length, 0) + cut
                return False
        return True


@contextmanager
def cuts_told_once(tell: Callable[[str], object]) -> Iterator[None]:
    """Hold the encoders' warnings of cut texts back while the block runs, then tell their sums."""
    sums = _Sum()
    loggers = [logging.getLogger(name) for name in _ENCODERS]
    for logger in loggers:
        logger.addFilter(sums)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(sums)
        for length, cut in sums.cut.items():
            tell(f"{cut:,} texts were cut to {length:,} tokens")
