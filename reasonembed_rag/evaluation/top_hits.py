"""What a run found first: each query's text, its gold documents and its best hits, for people to read."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonembed_rag.errors import EvaluationError, InputError
from reasonembed_rag.evaluation.report import Report
from reasonembed_rag.evaluation.run import Run
from reasonembed_rag.evaluation.scoring import judgement_digest, rankings_of
from reasonembed_rag.evaluation.slices import levels_of, query_type
from reasonembed_rag.evaluation.task import Example, RetrievalTask
from reasonembed_rag.files import plain_record, record_from, replacing
from reasonembed_rag.hits import Hits

__all__ = ["Beginning", "RankedQuery", "TopHits", "read_top_hits", "top_hits_of", "write_top_hits"]

_FORMAT = 1
_KEPT = 10
"""Hits per query: as many as the headline measure looks at."""
_QUERY_CHARACTERS = 2_000
_DOCUMENT_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of a text, and how many more characters it has."""

    text: str
    more: int = 0

    @classmethod
    def of(cls, text: str, characters: int) -> Beginning:
        """Return the text, or what it has up to the last space before `characters`."""
        text = text.strip()
        if len(text) <= characters:
            return cls(text)
        cut = text[:characters]
        words = cut.rsplit(maxsplit=1)[0]
        cut = words if len(words) > characters // 2 else cut
        return cls(cut, len(text) - len(cut))

    def cut(self, characters: int) -> Beginning:
        """Return a shorter beginning of the same text."""
        shorter = Beginning.of(self.text, characters)
        return Beginning(shorter.text, shorter.more + self.more)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedQuery:
    """A query, where its gold documents were ranked, and its best hits."""

    id: str
    query: Beginning
    gold: Mapping[str, int | None]
    """Each gold id's rank from 1; None where it was not found."""
    hits: Mapping[str, float] | None
    """The best hits' ids and scores, in order; None where only the report is known, not the run."""
    slices: Mapping[str, str]
    """The query's level in each property that divides the task's queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopHits:
    """The queries of a task with a system's best hits, and the beginnings of the documents named in them."""

    digest: str
    """Of the judgements, as in TaskFacts."""
    k: int
    """How deep the rankings were."""
    queries: tuple[RankedQuery, ...]
    documents: Mapping[str, Beginning]

    def check_report(self, report: Report) -> None:
        """Raise EvaluationError unless these are the hits that the report was computed from."""
        if self.digest != report.task.digest:
            raise EvaluationError(
                f"{report.task.label}: queries, gold ids or exclusions are not those of the report; give its own data"
            )
        gold = {query.id: query.gold for query in self.queries if query.hits is not None}
        for query in report.queries:
            ranks = [rank for rank in gold.get(query.id, {}).values() if rank is not None]
            found = 1.0 / min(ranks) if ranks else 0.0
            if query.id in gold and not math.isclose(found, query.measures["MRR"], abs_tol=1e-6):
                raise EvaluationError(
                    f"{report.task.label}, query {query.id}: its hits are of another run; evaluate again"
                )


def top_hits_of(run: Run | None, task: RetrievalTask) -> TopHits:
    """Return the best hits of a run, exclusions removed; without a run, only queries and gold documents."""
    rankings = rankings_of(run, task) if run is not None else {}
    hits_of = {result.id: result.hits for result in run.results} if run is not None else {}
    slices: dict[str, dict[str, str]] = {e.id: {"kind of question": query_type(e)} for e in task.examples}
    for by, levels in levels_of(task).items():
        for level, members in levels.items():
            for example in members:
                slices[example.id][by] = level
    queries = tuple(
        RankedQuery(
            id=example.id,
            query=Beginning.of(example.query, _QUERY_CHARACTERS),
            gold=_ranks(example, rankings.get(example.id, ())),
            hits=_best(hits_of.get(example.id), rankings.get(example.id, ())) if run is not None else None,
            slices=slices[example.id],
        )
        for example in task.examples
    )
    named = {identity for query in queries for identity in (*query.gold, *(query.hits or ()))}
    return TopHits(
        digest=judgement_digest(task),
        k=run.k if run is not None else 0,
        queries=queries,
        documents={d.id: Beginning.of(d.content, _DOCUMENT_CHARACTERS) for d in task.documents if d.id in named},
    )


def write_top_hits(hits: TopHits, path: Path) -> None:
    """Write them atomically as gzipped JSON; raises InputError where the file cannot be written."""
    text = json.dumps({"format": _FORMAT, **plain_record(hits)})
    try:
        with replacing(path) as file:
            file.write(gzip.compress(text.encode(), mtime=0))
    except OSError as error:
        raise InputError(f"{path}: cannot write there ({error.strerror}); want a path in a writable folder") from error


def read_top_hits(path: Path) -> TopHits:
    """Read what write_top_hits wrote; raises InputError for a file that cannot be read, EvaluationError for another."""
    try:
        fields = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: cannot read it ({error}); remove it, or evaluate again") from error
    if not isinstance(fields, dict) or fields.pop("format", None) != _FORMAT:
        raise EvaluationError(f"{path}: not the hits of format {_FORMAT}; remove it, or evaluate again")
    return record_from(TopHits, fields, where=str(path), error=EvaluationError)


def _best(hits: Hits | None, ranking: Sequence[str]) -> dict[str, float]:
    """Return the best ids of a ranking with their scores."""
    return {} if hits is None else {i: float(hits.scores[hits.ids.index(i)]) for i in ranking[:_KEPT]}


def _ranks(example: Example, ranking: Sequence[str]) -> dict[str, int | None]:
    gold = frozenset(example.gold_ids)
    found = {identity: rank for rank, identity in enumerate(ranking, start=1) if identity in gold}
    return {identity: found.get(identity) for identity in example.gold_ids}
