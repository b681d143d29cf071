"""What a router knows of a query before it chooses: its words, and how the first stage's scores look."""

from __future__ import annotations

import math
import re

import numpy as np

from reasonembed_rag.hits import Hits
from reasonembed_rag.pipeline.fusion import min_max

__all__ = ["AGREEMENT", "FEATURES", "PROBE_DEPTH", "query_features"]

PROBE_DEPTH = 10
"""Hits that are looked at."""
FEATURES = ("words", "question", "symbols", "top", "margin", "entropy")
AGREEMENT = "agreement"
"""The feature that a second retriever adds."""

_QUESTION = re.compile(
    r"(how|what|when|where|which|who|whom|whose|why|is|are|do|does|did|can|could|should|would|will)\b"
)


def query_features(query: str, found: Hits, other: Hits | None = None) -> tuple[float, ...]:
    """Return the values of FEATURES, and of AGREEMENT where there are another retriever's hits.

    words: log(1 + number of words); question: whether it ends in a question mark or begins with an English question
    word; symbols: the share of characters, blanks aside, that are not letters; top: the best score; margin: that less
    the second; entropy: of the ten best scores scaled from 0 to 1 and divided by their sum, over its maximum;
    agreement: the share of the ten best that the other retriever has among its own.
    """
    solid = [character for character in query if not character.isspace()]
    scores = found.scores[:PROBE_DEPTH].astype(np.float64).tolist()
    asked = query.rstrip().endswith(("?", "\uff1f")) or _QUESTION.match(query.lstrip().lower()) is not None
    own = (
        math.log1p(len(query.split())),
        float(asked),
        sum(not character.isalpha() for character in solid) / max(len(solid), 1),
        scores[0] if scores else 0.0,
        scores[0] - scores[1] if len(scores) > 1 else 0.0,
        _entropy(found),
    )
    if other is None:
        return own
    common = set(found.ids[:PROBE_DEPTH]) & set(other.ids[:PROBE_DEPTH])
    return (*own, len(common) / PROBE_DEPTH)


def _entropy(found: Hits) -> float:
    scaled = min_max(found.scores[:PROBE_DEPTH])
    if len(scaled) < 2:
        return 0.0
    shares = scaled[scaled > 0] / scaled.sum()
    return float(-(shares * np.log(shares)).sum() / math.log(len(scaled)))
