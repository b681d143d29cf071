"""What all components that ask a chat model tell of it."""

from __future__ import annotations

from reasonembed_rag.llm import ChatStage, StageReport
from reasonembed_rag.protocols import Usage

__all__ = ["AsksChat"]


class AsksChat:
    """Asks a chat model through one stage, which counts."""

    def __init__(self, stage: ChatStage) -> None:
        self._stage = stage

    def report(self) -> StageReport:
        """Return what was asked, answered, dropped and kept since construction."""
        return self._stage.report()

    def usage(self) -> Usage:
        """Return the calls and tokens since construction."""
        return self._stage.usage()
