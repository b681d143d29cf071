"""Enrichment of an index: its answers lie beside the folder, and what has none yet is kept in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reasonembed_rag.encoder import SharedEncoder
from reasonembed_rag.llm import ChatAccess, ResponseCache, StageReport, settings_of
from reasonembed_rag.pipeline import EnrichingEmbedder, EnrichmentFailures, enrichment_name
from reasonembed_rag.protocols import Embedder
from reasonembed_stores.windows import Progress

__all__ = ["Enrichment", "EnrichmentReport", "enrichment_answers", "enrichment_failures"]

_FAILURES = "enrichment-failures"


@dataclass(frozen=True, slots=True)
class EnrichmentReport:
    """What a chat model was asked about documents, and what came of it."""

    calls: int = 0
    """Calls with an answer, usable or not."""
    cached: int = 0
    """Answers of runs before."""
    tokens: int = 0
    cost: float | None = None
    """By the prices in the settings of the chat model."""
    failures: int = 0
    """Calls without an answer after all retries."""
    unusable: Mapping[str, int] = field(default_factory=dict)
    """Answers that were dropped, by reason."""
    shortened: int = 0
    """Documents of which the model was shown a part."""
    alone: int = 0
    """Contents embedded alone, for want of a usable answer; the next run asks for them again."""
    last_failure: str | None = None

    @property
    def is_without_answers(self) -> bool:
        """Whether something was asked for, and no answer, of this run or kept from before, was usable."""
        return self.alone > 0 and self.calls + self.cached <= sum(self.unusable.values())

    @classmethod
    def of(cls, report: StageReport) -> EnrichmentReport:
        """Return what a report of the stage says."""
        return cls(
            calls=report.calls,
            cached=report.cached,
            tokens=report.input_tokens + report.output_tokens,
            cost=report.cost,
            failures=report.failures,
            unusable=dict(report.unusable),
            shortened=report.shortened,
            alone=report.unanswered,
            last_failure=report.last_failure,
        )

    def __str__(self) -> str:
        if self == EnrichmentReport(cost=self.cost):
            return "nothing new to enrich"
        cost = "" if self.cost is None else f", cost {self.cost:,.4f}"
        parts = [f"{self.calls:,} answers{cost}, {self.tokens:,} tokens, {self.cached:,} answers kept from before"]
        parts += [f"{count:,} unusable: {reason}" for reason, count in sorted(self.unusable.items())]
        parts += [f"{self.failures:,} calls failed"] if self.failures else []
        parts += [f"{self.shortened:,} documents shown in part"] if self.shortened else []
        parts += [f"{self.alone:,} contents embedded alone, asked for again by the next run"] if self.alone else []
        return "; ".join(parts)


class Enrichment:
    """The chat model that enriches the documents of one index run; raises InputError for one without a name."""

    def __init__(self, access: ChatAccess, to: Path, *, on_progress: Callable[[Progress], None]) -> None:
        settings_of(access.chat, access.model, cached=True)
        self.name = enrichment_name(access)
        self._access = access
        self._to = to
        self._on_progress = on_progress
        self._latest = Progress(0, 0, 0, 0)
        self._cache: ResponseCache | None = None
        self._made: EnrichingEmbedder | None = None
        self.failures = enrichment_failures(to)

    def on_progress(self, progress: Progress) -> None:
        """Tell the progress of a run, which the replies of the chat model are told with."""
        self._latest = progress
        self._on_progress(progress)

    def around(self, embedder: Embedder) -> EnrichingEmbedder:
        """Return the embedder with enrichment; opens the file of answers, if the access has none of its own."""
        if self._made is None:
            access = self._access
            if access.cache is None:
                self._cache = ResponseCache.open(enrichment_answers(self._to))
                access = replace(access, cache=self._cache)
            plain = embedder.embedder if isinstance(embedder, SharedEncoder) else embedder
            self._made = EnrichingEmbedder(plain, access, failures=self.failures, on_reply=self._on_reply)
        return self._made

    def report(self) -> EnrichmentReport:
        """Return what was asked so far."""
        return EnrichmentReport() if self._made is None else EnrichmentReport.of(self._made.report())

    def close(self) -> None:
        """Close the file of answers."""
        if self._cache is not None:
            self._cache.close()

    def _on_reply(self, report: StageReport) -> None:
        self._on_progress(replace(self._latest, enrichment=report))


def enrichment_failures(to: Path) -> EnrichmentFailures:
    """Return the contents of an index that have no enrichment yet."""
    return EnrichmentFailures(to / _FAILURES)


def enrichment_answers(to: Path) -> Path:
    """Return the file of the answers for an index, beside its folder: they outlive an index that is built anew."""
    folder = to.absolute()
    return folder.with_name(f"{folder.name}.enrichment.sqlite")
