"""A stage that fuses what another retriever over the same documents finds, such as BM25."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.fusion import Fusion, FusionKind, Weighted
from reasonembed_rag.pipeline.stage_context import StageContext
from reasonembed_rag.protocols import Retriever

__all__ = ["FusionStage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionStage:
    """Fuse the retriever with another one over the same documents; raises InputError for a weight outside 0 to 1."""

    kind: ClassVar[str] = "fusion"
    asks_chat: ClassVar[bool] = False

    retriever: str = "bm25"
    """The other one, by its name."""
    weight: float = 0.25
    """Its share; the retriever inside has the rest."""
    fusion: FusionKind = "scores"
    depth: int = 1000

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < 1.0:
            raise InputError(f"weight is {self.weight}; want the share of {self.retriever}, between 0 and 1")

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what fuses; the other retriever is opened now. Raises InputError where the context opens none."""
        other = context.opened(self.retriever, stage=self.kind)
        return lambda inner: Fusion(
            [Weighted(inner, 1.0 - self.weight), Weighted(other, self.weight)], fusion=self.fusion, depth=self.depth
        )
