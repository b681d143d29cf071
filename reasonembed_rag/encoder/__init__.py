"""The engine: text to vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag.encoder.encoder import Encoder

__all__ = ["Encoder"]


def __getattr__(name: str) -> object:
    """Import Encoder, and torch with it, when it is first used: a remote encoder does without."""
    if name != "Encoder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reasonembed_rag.encoder.encoder import Encoder

    globals()[name] = Encoder
    return Encoder
