"""Checks of settings."""

from __future__ import annotations

from reasonembed_rag.errors import TrainingError

__all__ = ["check_setting"]


def check_setting(condition: bool, message: str) -> None:
    """Raise TrainingError with the message if the condition does not hold."""
    if not condition:
        raise TrainingError(message)
