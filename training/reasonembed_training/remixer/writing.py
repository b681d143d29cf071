"""Write queries from documents, and their reasoning-augmented versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from reasonembed_rag.documents import Document
from reasonembed_rag.llm import Answer, ChatJob, ChatRequest, ReadAnswer
from reasonembed_training.remixer.cards import RemixCard
from reasonembed_training.remixer.duplicates import content_digest
from reasonembed_training.remixer.parsing import parse_query
from reasonembed_training.remixer.prompts import query_prompt, reasoning_prompt
from reasonembed_training.remixer.records import GeneratedQuery, QuerySource, ReasonedQuery, StageOutcome
from reasonembed_training.remixer.watching import Watch

__all__ = ["distinct_queries", "query_job", "reasoning_job"]


def query_job(
    card: RemixCard, source: QuerySource, documents: Mapping[str, Document], watch: Watch
) -> ChatJob[StageOutcome[GeneratedQuery]]:
    """Write one query from a source."""
    content = documents[source.id].content
    prompt = query_prompt(card, content, length=source.length, education=source.education)
    written = yield from _written(prompt, partial(parse_query, guard=watch.guard, document=content), watch)
    if written.text is None:
        return StageOutcome(None, {written.reason: 1}, retryable=written.retryable)
    return StageOutcome(
        GeneratedQuery(
            id=f"{card.name}/{source.id}",
            source_id=source.id,
            query=written.text,
            length=source.length,
            education=source.education,
        )
    )


def reasoning_job(card: RemixCard, query: GeneratedQuery, watch: Watch) -> ChatJob[StageOutcome[ReasonedQuery]]:
    """Write the reasoning-augmented version of one query; a truncated one counts."""
    read = partial(watch.guard.check, inputs=query.query)
    written = yield from _written(reasoning_prompt(card, query.query), read, watch)
    if written.text is None:
        return StageOutcome(None, {written.reason: 1}, retryable=written.retryable)
    return StageOutcome(ReasonedQuery(id=query.id, reasoning_query=written.text))


def distinct_queries(outcomes: Iterable[StageOutcome[GeneratedQuery]]) -> Iterator[StageOutcome[GeneratedQuery]]:
    """Pass outcomes through; of queries that are equal up to case and whitespace only the first is kept."""
    seen: set[bytes] = set()
    for outcome in outcomes:
        mark = content_digest(outcome.record.query) if outcome.record is not None else None
        if mark is not None and mark in seen:
            yield StageOutcome(None, {"copy of another query": 1})
            continue
        if mark is not None:
            seen.add(mark)
        yield outcome


@dataclass(frozen=True, slots=True)
class _Written:
    """A text, or the reason why there is none."""

    text: str | None
    reason: str = ""
    retryable: int = 0


def _written(prompt: str, read: Callable[[Answer], ReadAnswer[str]], watch: Watch) -> ChatJob[_Written]:
    reason = ""
    for attempt in range(watch.asked_again + 1):
        (reply,) = yield [ChatRequest(prompt, attempt)]
        if reply.answer is None:
            return _Written(None, reply.reason, retryable=0 if reply.permanent else 1)
        found = read(reply.answer)
        watch.first.add(reply.answer, found.reason)
        if found.value is not None:
            return _Written(found.value)
        reason = found.reason or "empty"
    return _Written(None, reason)
