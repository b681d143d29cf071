"""Who hears what a run does."""

from __future__ import annotations

from typing import Protocol

from reasonembed_training.remixer.config import Stage
from reasonembed_training.remixer.crew import Tally
from reasonembed_training.remixer.folder import StageState

__all__ = ["Silent", "Watcher"]


class Watcher(Protocol):
    """Hears how a run goes."""

    def begin(self, stage: Stage, *, total: int | None) -> None:
        """Hear that a stage begins, and how many things it will go through where that is known."""

    def advance(self, done: int, tally: Tally) -> None:
        """Hear how many things are done and what has been asked; once for every reply too."""

    def end(self, stage: Stage, state: StageState, *, kept: bool) -> None:
        """Hear that a stage is finished, or was found finished."""


class Silent:
    """Hear nothing."""

    def begin(self, stage: Stage, *, total: int | None) -> None:
        """Do nothing."""

    def advance(self, done: int, tally: Tally) -> None:
        """Do nothing."""

    def end(self, stage: Stage, state: StageState, *, kept: bool) -> None:
        """Do nothing."""
