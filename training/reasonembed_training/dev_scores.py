"""Scores on the dev sets, as they are kept in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DevScore", "Measurement"]


@dataclass(frozen=True, slots=True)
class DevScore:
    """The mean nDCG@10 of one dev set, and that of each of its queries by id."""

    name: str
    mean: float
    per_query: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """All dev sets at one step."""

    step: int
    scores: tuple[DevScore, ...]

    @property
    def mean(self) -> float:
        """The mean over the sets: what decides."""
        return sum(score.mean for score in self.scores) / len(self.scores)

    @property
    def means(self) -> dict[str, float]:
        """The mean of each set by name."""
        return {score.name: score.mean for score in self.scores}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Measurement:
        """Read what dataclasses.asdict made."""
        return cls(fields["step"], tuple(DevScore(**score) for score in fields["scores"]))
