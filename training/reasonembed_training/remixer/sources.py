"""Sample the documents that queries are written from: in the domain, of suitable length, in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm import ChatJob, ChatRequest
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import SourceConfig
from reasonembed_training.remixer.corpus import Pool
from reasonembed_training.remixer.parsing import parse_verdict
from reasonembed_training.remixer.prompts import membership_prompt
from reasonembed_training.remixer.records import DomainVerdict, QuerySource, StageOutcome
from reasonembed_training.remixer.sampling import draw_weighted, shuffle_key
from reasonembed_training.remixer.watching import Watch

__all__ = ["clean", "eligible_sources", "sample_sources"]

VerdictJobs = Callable[[Iterable[ChatJob[StageOutcome[DomainVerdict]]]], Iterator[StageOutcome[DomainVerdict]]]
"""Runs jobs and yields their results in order."""


def eligible_sources(pool: Pool, config: SourceConfig, *, seed: int) -> list[Document]:
    """Return the documents whose length is suitable for sources, in the seed's order.

    Raises TrainingError where there is none.
    """
    fitting = [
        document
        for document in pool.documents
        if config.min_chars <= len(document.content) <= config.max_chars and document.id not in pool.no_sources
    ]
    if not fitting:
        lengths = sorted(len(document.content) for document in pool.documents)
        raise TrainingError(
            f"no document has between {config.min_chars} and {config.max_chars} characters: half of the "
            f"{len(lengths)} have at most {lengths[len(lengths) // 2]}; set sources.min_chars and sources.max_chars"
        )
    return sorted(fitting, key=lambda document: shuffle_key(document.id, seed=seed))


def clean(
    pool: Pool, card: RemixCard, config: SourceConfig, *, seed: int, run: VerdictJobs, watch: Watch
) -> Iterator[StageOutcome[DomainVerdict]]:
    """Yield a model's verdicts on whether documents belong to the card's domain.

    "corpus" checks every document. "sources" checks in the order of eligible_sources until the limit is reached, which
    gives the same sources as checking all.
    """
    if config.clean == "corpus":
        yield from run(_verdict(card, document, watch) for document in pool.documents)
    elif config.clean == "sources":
        left = iter(eligible_sources(pool, config, seed=seed))
        missing = config.limit
        while missing:
            wave = list(islice(left, missing))
            if not wave:
                return
            for outcome in run(_verdict(card, document, watch) for document in wave):
                missing -= outcome.record is not None and outcome.record.belongs
                yield outcome


def sample_sources(
    pool: Pool, card: RemixCard, config: SourceConfig, *, seed: int, verdicts: Iterable[DomainVerdict]
) -> Iterator[StageOutcome[QuerySource]]:
    """Yield the first documents of the domain in the seed's order, each with a random length and education."""
    belongs = {verdict.id: verdict.belongs for verdict in verdicts}
    taken = 0
    for document in eligible_sources(pool, config, seed=seed):
        if taken == config.limit:
            return
        if config.clean != "off" and not belongs.get(document.id, False):
            continue
        taken += 1
        yield StageOutcome(
            QuerySource(
                id=document.id,
                length=draw_weighted(card.lengths, of="length", name=document.id, seed=seed),
                education=draw_weighted(card.education, of="education", name=document.id, seed=seed),
            )
        )


def _verdict(card: RemixCard, document: Document, watch: Watch) -> ChatJob[StageOutcome[DomainVerdict]]:
    """Ask once; a document without a usable answer counts as outside the domain."""
    (reply,) = yield [ChatRequest(membership_prompt(card, document.content))]
    if reply.answer is None:
        verdict = DomainVerdict(id=document.id, belongs=False)
        return StageOutcome(verdict, {reply.reason: 1}, retryable=0 if reply.permanent else 1)
    read = parse_verdict(reply.answer, watch.guard)
    watch.first.add(reply.answer, read.reason)
    drops = {} if read.value else {read.reason or "not of the domain": 1}
    return StageOutcome(DomainVerdict(id=document.id, belongs=read.value is True), drops)
