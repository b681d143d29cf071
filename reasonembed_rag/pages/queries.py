"""The queries of a comparison as data for its page: texts, gold documents and best hits, bounded in size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reasonembed_rag.evaluation import Beginning, RankedQuery, Report, Results, TopHits

__all__ = ["QueryList", "query_list"]

_MOST_ROWS = 20_000
_MOST_BYTES = 16_000_000
"""Of texts and hits: browsers open such a page within seconds."""
_CHARACTERS, _FEWER_CHARACTERS = 400, 160
"""Of a document; fewer where the page would not hold every query's otherwise."""
_QUESTION, _NAME = 240, 120
"""Characters of a question in the list, and of ids and slices."""
_MOST_LEVELS = 60
"""Of a property that the list is filtered by: more are no help."""
_MOST_GOLD = 10

_NO_HITS = "This system's hits are not known: only its report was given, not the folder with its run."


@dataclass(frozen=True, slots=True)
class QueryList:
    """What the page's script shows, and what a reader must know of it."""

    data: Mapping[str, Any]
    notes: tuple[str, ...]


def query_list(systems: Sequence[Results], *, measure: str) -> QueryList:
    """Return the queries of the systems' tasks, those first whose scores differ most; of one system, the lowest first.

    Beyond 20,000 queries, or 16 MB of texts, the others are left out, which the notes count.
    """
    names = [results.reports[0].system.label for results in systems]
    tasks = [report.task.label for report in systems[0].reports]
    found = list(_rows(systems, measure))
    found.sort(key=_order)
    kept = found[:_MOST_ROWS]
    texts = _texts(systems, kept, _CHARACTERS)
    if texts.left_out:
        texts = _texts(systems, kept, _FEWER_CHARACTERS)
    levels, unfiltered = _levels(kept)
    data = {
        "systems": names,
        "tasks": tasks,
        "slices": [f"{by}: {level[:_NAME]}" for by, level in levels],
        "rows": [
            {
                "place": place,
                "id": row.id[:_NAME],
                "task": row.task,
                "question": row.question,
                "scores": row.scores,
                "slices": [levels[level] for level in row.levels if level in levels],
            }
            for place, row in enumerate(kept)
        ],
        "details": texts.details,
        "documents": texts.documents,
        "mostGold": _MOST_GOLD,
        "noHits": _NO_HITS,
        "absent": texts.absent,
    }
    notes = [*_notes(len(found) - len(kept), texts, len(kept))]
    notes += [f"The list has no filter by {by}: it has {count:,} values." for by, count in unfiltered.items()]
    return QueryList(data, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Row:
    """A query of a task with each system's score, and what is known of it."""

    id: str
    task: int
    scores: list[float]
    known: list[RankedQuery | None]
    """Of each system."""

    @property
    def own(self) -> RankedQuery | None:
        return next(filter(None, self.known), None)

    @property
    def question(self) -> str:
        """The query in one line; its id where the text is not known."""
        if self.own is None:
            return f"query {self.id}"
        words = Beginning.of(" ".join(self.own.query.text.split()), _QUESTION)
        return f"{words.text} …" if words.more else words.text

    @property
    def levels(self) -> list[tuple[str, str]]:
        return [] if self.own is None else list(self.own.slices.items())


def _levels(rows: Sequence[_Row]) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    """Return the number of each property's level, and the properties that have too many, with how many."""
    every = dict.fromkeys(level for row in rows for level in row.levels)
    counts = Counter(by for by, _ in every)
    kept = [level for level in every if counts[level[0]] <= _MOST_LEVELS]
    return (
        {level: number for number, level in enumerate(kept)},
        {by: count for by, count in counts.items() if count > _MOST_LEVELS},
    )


def _rows(systems: Sequence[Results], measure: str) -> Iterator[_Row]:
    by_task = [{report.task.label: report for report in results.reports} for results in systems]
    for number, label in enumerate(by_task[0]):
        scores = [_scores(reports[label], measure) for reports in by_task]
        known = [_known(results.top_hits.get(label)) for results in systems]
        for identity in dict.fromkeys(query for one in scores for query in one):
            yield _Row(
                identity,
                number,
                [round(one.get(identity, 0.0), 5) for one in scores],
                [one.get(identity) for one in known],
            )


def _scores(report: Report, measure: str) -> dict[str, float]:
    return {query.id: query.measures[measure] for query in report.queries}


def _known(hits: TopHits | None) -> dict[str, RankedQuery]:
    return {query.id: query for query in hits.queries} if hits is not None else {}


def _order(row: _Row) -> tuple[float, int]:
    """Largest difference first; of one system, the lowest score."""
    spread = max(row.scores) - min(row.scores)
    return (-spread if len(row.scores) > 1 else row.scores[0]), row.task


def _texts(systems: Sequence[Results], rows: Sequence[_Row], characters: int) -> _Texts:
    texts = _Texts(systems, characters)
    for row in rows:
        texts.add(row)
    return texts


@dataclass(slots=True)
class _Texts:
    """Collects the texts and hits of queries until they fill the page."""

    systems: Sequence[Results]
    characters: int
    details: list[dict[str, Any] | None] = field(default_factory=list)
    documents: list[tuple[str, str, int]] = field(default_factory=list)
    unknown: int = 0
    left_out: int = 0
    _size: int = 0
    _numbers: dict[tuple[int, str], int] = field(default_factory=dict)

    @property
    def absent(self) -> str:
        if self.left_out:
            return "Its text and hits are left out to keep the page small, or are not known."
        return "Its text and hits are not known."

    def add(self, row: _Row) -> None:
        """Add a query's texts and hits; None where they are not known or the page is full."""
        own = row.own
        self.unknown += own is None
        self.left_out += own is not None and self._size >= _MOST_BYTES
        if own is None or self._size >= _MOST_BYTES:
            self.details.append(None)
            return
        detail = {
            "query": [own.query.text, own.query.more],
            "gold": [[self._number(row.task, i), *(_rank(one, i) for one in row.known)] for i in own.gold],
            "hits": [self._hits(row.task, one) for one in row.known],
        }
        self.details.append(detail)
        self._size += len(json.dumps(detail))

    def _hits(self, task: int, known: RankedQuery | None) -> list[list[float]] | None:
        if known is None or known.hits is None:
            return None
        return [[self._number(task, i), float(f"{score:.4g}")] for i, score in known.hits.items()]

    def _number(self, task: int, identity: str) -> int:
        """Return the place of a document among those of the page."""
        if (task, identity) not in self._numbers:
            label = self.systems[0].reports[task].task.label
            tops = (results.top_hits.get(label) for results in self.systems)
            texts = (top.documents.get(identity) for top in tops if top is not None)
            text = next(filter(None, texts), Beginning("")).cut(self.characters)
            self._numbers[task, identity] = len(self.documents)
            self.documents.append((identity[:_NAME], text.text, text.more))
            self._size += len(json.dumps(self.documents[-1]))
        return self._numbers[task, identity]


def _rank(known: RankedQuery | None, identity: str) -> int | None:
    """Return a gold document's rank: None where it was not found, 0 where that is not known."""
    return 0 if known is None or known.hits is None else known.gold.get(identity)


def _notes(rows_left_out: int, texts: _Texts, shown: int) -> Iterator[str]:
    if rows_left_out:
        yield f"The list has the first {shown:,} queries; {rows_left_out:,} are left out."
    if texts.left_out:
        yield (
            f"The texts and hits of {texts.left_out:,} of the {shown:,} queries listed, the last ones, are left out to "
            f"keep the page small: {_MOST_BYTES // 1_000_000} MB of them are here."
        )
    if texts.characters < _CHARACTERS:
        yield f"So that it holds more queries, documents are cut at {texts.characters} characters."
    if texts.unknown:
        yield (
            f"The texts and hits of {texts.unknown:,} queries are not known: compare folders that `reasonembed eval "
            "run --out FOLDER` wrote, or name the task's folder with --data."
        )
