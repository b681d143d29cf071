"""The documents that queries are written from: of the domain, of a fair length, in an order drawn by the seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm import ChatJob, ChatRequest
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.config import SourceConfig
from reasonembed_training.remixer.corpus import Pool
from reasonembed_training.remixer.parsing import is_yes
from reasonembed_training.remixer.prompts import membership_prompt
from reasonembed_training.remixer.records import Outcome, Source, Verdict
from reasonembed_training.remixer.sampling import draw, place

__all__ = ["clean", "eligible_sources", "sample_sources"]

VerdictJobs = Callable[[Iterable[ChatJob[Outcome[Verdict]]]], Iterator[Outcome[Verdict]]]
"""Runs jobs, in their order."""


def eligible_sources(pool: Pool, config: SourceConfig, *, seed: int) -> list[Document]:
    """Return the documents that may be sources by their length, in the seed's order.

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
    return sorted(fitting, key=lambda document: place(document.id, seed=seed))


def clean(
    pool: Pool, card: RemixCard, config: SourceConfig, *, seed: int, run: VerdictJobs
) -> Iterator[Outcome[Verdict]]:
    """Yield what a model says of documents' belonging to the card's domain.

    "corpus" asks about every document. "sources" asks in the order of eligible_sources until as many belong as the
    limit wants: the same sources come out as if all had been asked about.
    """
    if config.clean == "corpus":
        yield from run(_verdict(card, document) for document in pool.documents)
    elif config.clean == "sources":
        left = iter(eligible_sources(pool, config, seed=seed))
        missing = config.limit
        while missing:
            wave = list(islice(left, missing))
            if not wave:
                return
            for outcome in run(_verdict(card, document) for document in wave):
                missing -= outcome.record is not None and outcome.record.belongs
                yield outcome


def sample_sources(
    pool: Pool, card: RemixCard, config: SourceConfig, *, seed: int, verdicts: Iterable[Verdict]
) -> Iterator[Outcome[Source]]:
    """Yield the first documents in the seed's order that belong, with the length and education drawn for each."""
    belongs = {verdict.id: verdict.belongs for verdict in verdicts}
    taken = 0
    for document in eligible_sources(pool, config, seed=seed):
        if taken == config.limit:
            return
        if config.clean != "off" and not belongs.get(document.id, False):
            continue
        taken += 1
        yield Outcome(
            Source(
                id=document.id,
                length=draw(card.lengths, of="length", name=document.id, seed=seed),
                education=draw(card.education, of="education", name=document.id, seed=seed),
            )
        )


def _verdict(card: RemixCard, document: Document) -> ChatJob[Outcome[Verdict]]:
    """ChatRequest once; without an answer a document counts as one that does not belong."""
    (reply,) = yield [ChatRequest(membership_prompt(card, document.content))]
    if reply.answer is None:
        verdict = Verdict(id=document.id, belongs=False)
        return Outcome(verdict, {reply.reason: 1}, passing=0 if reply.permanent else 1)
    belongs = is_yes(reply.answer)
    return Outcome(Verdict(id=document.id, belongs=belongs), {} if belongs else {"not of the domain": 1})
