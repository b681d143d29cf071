"""Filters as they are written in a pipeline's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from reasonembed_rag.errors import InputError
from reasonembed_rag.pipeline.filtered import FilteredRetriever
from reasonembed_rag.pipeline.filters import Embed, HitFilter, NearDuplicateFilter, TrustFilter
from reasonembed_rag.pipeline.hub_guarded import HubGuardedRetriever, read_reference_queries
from reasonembed_rag.pipeline.stage_context import StageContext
from reasonembed_rag.protocols import Retriever

__all__ = ["HubnessStage", "NearDuplicatesStage", "TrustStage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    """What all filters share (FilteredRetriever)."""

    asks_chat: ClassVar[bool] = False

    depth: int = 20

    def _around(self, one: HitFilter, context: StageContext) -> Callable[[Retriever], Retriever]:
        return partial(FilteredRetriever, filters=[one], depth=self.depth, documents=context.documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByVectors(_Filter):
    """Filters that compare vectors: those of the retriever's documents, or of a model where it gives none."""

    model: str | None = None

    def _embed(self) -> Embed | None:
        if self.model is None:
            return None
        from reasonembed_rag.encoder import EncoderSettings, shared_encoder

        return shared_encoder(EncoderSettings(model=self.model)).embedder.encode_documents


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustStage(_ByVectors):
    """TrustFilter."""

    kind: ClassVar[str] = "trust-filter"

    similarity: float = 0.88
    overlap: float = 0.25
    n: int = 2

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what puts the filter around a retriever; raises InputError for settings that cannot be used."""
        one = TrustFilter(embed=self._embed(), similarity=self.similarity, overlap=self.overlap, n=self.n)
        return self._around(one, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicatesStage(_ByVectors):
    """NearDuplicateFilter."""

    kind: ClassVar[str] = "near-duplicates"

    similarity: float = 0.95

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what puts the filter around a retriever; raises InputError for settings that cannot be used."""
        return self._around(NearDuplicateFilter(embed=self._embed(), similarity=self.similarity), context)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubnessStage:
    """HubGuardedRetriever."""

    kind: ClassVar[str] = "hubness-guard"
    asks_chat: ClassVar[bool] = False

    path: Path
    """Reference queries: one per line, or JSON Lines with "query"."""
    k: int | None = None
    z: float = 6.0
    share: float = 0.045

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what puts the filter around a retriever; raises InputError for settings that cannot be used."""
        if context.corpus_size is None:
            raise InputError(f'the stage "{self.kind}" compares with all documents; want StageContext(corpus_size=...)')
        return partial(
            HubGuardedRetriever,
            queries=read_reference_queries(self.path),
            documents=context.corpus_size,
            k=self.k,
            z=self.z,
            share=self.share,
        )
