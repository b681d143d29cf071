"""Splits by group, so that no group is in two."""

from __future__ import annotations

import random
from collections.abc import Sequence

__all__ = ["split_groups"]


def split_groups(groups: Sequence[str], *, seed: int, shares: tuple[float, float]) -> dict[str, str | None]:
    """Return each group's split: None up to the first share of the shuffled groups, dev up to the second, else train.

    What has no split is never written: it is kept for measuring elsewhere.
    """
    shuffled = list(groups)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - makes the published split, guards nothing
    kept, judged = (len(shuffled) * share for share in shares)
    return {
        group: None if number < kept else "dev" if number < judged else "train" for number, group in enumerate(shuffled)
    }
