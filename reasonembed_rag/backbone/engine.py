"""The interface of engines: packs of token sequences to vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from reasonembed_rag.backbone.tokenizer import Tokens

__all__ = ["Engine", "RowVectors"]


class RowVectors(NamedTuple):
    """Vectors (len(rows), D) of some rows of a call."""

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


class Engine(Protocol):
    """Compute the vectors of a call pack by pack, in any order."""

    def run(self, tokens: Tokens, packs: Sequence[NDArray[np.int64]], *, adapter: str | None) -> Iterator[RowVectors]:
        """Yield vectors as they are computed; an error ends the call and leaves the engine usable."""

    def close(self) -> None:
        """Release what the engine holds; a closed engine cannot run."""
