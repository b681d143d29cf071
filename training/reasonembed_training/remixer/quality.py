"""The quality of a run's rows: word overlap, grades, difficulty, lengths."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reasonembed_rag.pages import render_template
from reasonembed_rag.retrieval import STOP_WORDS
from reasonembed_training.remixer.config import JudgeConfig, RemixConfig, Stage, read_settings
from reasonembed_training.remixer.corpus import read_corpus
from reasonembed_training.remixer.folder import RunFolder, StageState
from reasonembed_training.remixer.judging import judging_waves, stops
from reasonembed_training.remixer.records import Candidates, GeneratedQuery, JudgedCandidates, RemixRow
from reasonembed_training.remixer.sampling import shuffle_key

__all__ = ["Overlap", "Quality", "Sample", "Screening", "measure_quality", "quality_page", "screening", "word_overlap"]

_WORD = re.compile(r"[^\W_]+")
_SAMPLES = 20
_SCREENED_AFTER = (5, 10, 20, 30)
_NEAR_TOP = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Mean share of a query's words that occur in a document; if it is high, words alone find the document."""

    source: float
    positive: float
    negative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """What stopping after a number of consecutive lowest grades would have saved and lost."""

    stop_after: int
    at_least: int
    judgements_saved: float
    """Share of all."""
    positives_lost: float
    queries_lost: float
    """Share of the queries with a positive that would have lost all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A row to read, with the document that its query was written from."""

    row: RemixRow
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """All figures of a run."""

    settings: RemixConfig
    states: Mapping[Stage, StageState]
    rows: int
    overlap: Overlap
    grades: Mapping[int, int]
    positives: Mapping[int, int]
    """Rows by their number of positives."""
    negatives: float
    """Mean number per row."""
    source_first: float
    """Share of the queries whose source was ranked first, before it was removed."""
    source_near_top: float
    source_unfound: float
    lengths: Mapping[str, int]
    """Queries by actual length in words, in the card's ranges."""
    drawn_lengths: Mapping[str, int]
    education: Mapping[str, int]
    screening: tuple[Screening, ...]
    samples: tuple[Sample, ...]

    @property
    def positives_per_row(self) -> float:
        """The mean number of positives."""
        return sum(count * rows for count, rows in self.positives.items()) / self.rows if self.rows else 0.0


def measure_quality(folder: Path) -> Quality:
    """Measure a finished run; raises TrainingError where a stage is missing, InputError where its corpus is missing."""
    settings, run = read_settings(folder), RunFolder(folder)
    queries = list(run.read("generate", GeneratedQuery))
    grades = [judged.grades for judged in run.read("judge", JudgedCandidates)]
    ranks = [candidates.source_rank for candidates in run.read("mine", Candidates)]
    counts = _RowCounts()
    drawn = heapq.nsmallest(
        _SAMPLES,
        counts.through(run.read("rows", RemixRow), _sources(settings, queries)),
        key=lambda sample: shuffle_key(sample.row.id, seed=settings.seed),
    )
    return Quality(
        settings=settings,
        states=run.states(),
        rows=counts.rows,
        overlap=Overlap(**{name: mean.value for name, mean in counts.overlaps.items()}),
        grades={grade: sum(of_query.count(grade) for of_query in grades) for grade in range(1, 6)},
        positives=dict(sorted(counts.positives.items())),
        negatives=counts.negatives / counts.rows if counts.rows else 0.0,
        source_first=_share([rank == 1 for rank in ranks]),
        source_near_top=_share([rank is not None and rank <= _NEAR_TOP for rank in ranks]),
        source_unfound=_share([rank is None for rank in ranks]),
        lengths=_lengths(queries),
        drawn_lengths=_in_order(Counter(query.length for query in queries)),
        education=dict(Counter(query.education for query in queries)),
        screening=tuple(
            screening(grades, JudgeConfig(stop_after=after), positive_from=settings.rows.positive_from)
            for after in _SCREENED_AFTER
        )
        if settings.judge.stop_after is None
        else (),
        samples=tuple(drawn),
    )


def quality_page(quality: Quality) -> str:
    """Return a self-contained HTML page: figures of the run, its stages, and rows to read."""
    return render_template(Path(__file__).with_name("quality_report.html.j2"), quality=quality)


def screening(grades: Sequence[Sequence[int]], config: JudgeConfig, *, positive_from: int) -> Screening:
    """Return what early stops would have saved and lost, from queries whose candidates are all graded."""
    judged = every = positives = found = with_any = kept_any = 0
    for of_query in grades:
        depth = _depth(of_query, config)
        helpful = sum(grade >= positive_from for grade in of_query)
        helpful_found = sum(grade >= positive_from for grade in of_query[:depth])
        judged, every = judged + depth, every + len(of_query)
        positives, found = positives + helpful, found + helpful_found
        with_any, kept_any = with_any + (helpful > 0), kept_any + (helpful_found > 0)
    return Screening(
        stop_after=config.stop_after or 0,
        at_least=config.at_least,
        judgements_saved=1 - judged / every if every else 0.0,
        positives_lost=1 - found / positives if positives else 0.0,
        queries_lost=1 - kept_any / with_any if with_any else 0.0,
    )


def word_overlap(query: str, document: str) -> float:
    """Return the share of a query's distinct words, without stop words, that occur in a document."""
    words = _words(query)
    return len(words & _words(document)) / len(words) if words else 0.0


@dataclass(slots=True)
class _Mean:
    total: float = 0.0
    count: int = 0

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass(slots=True)
class _RowCounts:
    """Sums over one pass through the rows."""

    rows: int = 0
    negatives: int = 0
    positives: Counter[int] = field(default_factory=Counter)
    overlaps: Mapping[str, _Mean] = field(
        default_factory=lambda: {"source": _Mean(), "positive": _Mean(), "negative": _Mean()}
    )

    def through(self, rows: Iterable[RemixRow], sources: Mapping[str, str]) -> Iterator[Sample]:
        """Count each row, and yield it with its source's content."""
        for row in rows:
            source = sources.get(row.source_id, "")
            self.rows += 1
            self.negatives += len(row.neg)
            self.positives[len(row.pos)] += 1
            for name, contents in (("source", (source,)), ("positive", row.pos), ("negative", row.neg)):
                self.overlaps[name].total += sum(word_overlap(row.query, content) for content in contents)
                self.overlaps[name].count += len(contents)
            yield Sample(row=row, source=source)


def _sources(settings: RemixConfig, queries: Sequence[GeneratedQuery]) -> dict[str, str]:
    """Return the contents of the queries' sources."""
    wanted = {query.source_id for query in queries}
    documents = read_corpus(settings.corpus).documents
    return {document.id: document.content for document in documents if document.id in wanted}


def _depth(grades: Sequence[int], config: JudgeConfig) -> int:
    """Return the number of candidates that would have been judged."""
    judged = 0
    for wave in judging_waves(len(grades), config):
        if stops(grades[:judged], config):
            break
        judged = wave.stop
    return judged


def _lengths(queries: Sequence[GeneratedQuery]) -> dict[str, int]:
    """Return the number of queries in each of the drawn ranges of lengths."""
    ranges = list(_in_order(Counter(query.length for query in queries)))
    counts = dict.fromkeys(ranges, 0)
    for query in queries:
        words = len(query.query.split())
        fitting = [length for length in ranges if _floor(length) <= words] or ranges[:1]
        counts[fitting[-1]] += 1
    return counts


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: _floor(item[0])))


def _floor(length: str) -> int:
    """Return the lower bound of a range."""
    return 0 if length.startswith("<") else int(length.removeprefix(">=").partition("-")[0])


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold())) - STOP_WORDS
