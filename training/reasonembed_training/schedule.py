"""The learning rate of a step, a pure function of it."""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["rate_at"]


def rate_at(step: int, *, steps: int, warmup: float, schedule: Literal["linear", "cosine", "constant"]) -> float:
    """Return the share of the peak rate for a step counted from 0, of `steps` in all.

    The rate rises in a line over the first `warmup` share of the steps, then falls to 0 in a line or half a cosine
    wave, or stays.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
