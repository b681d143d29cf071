"""Evaluation reports of one system or several as a self-contained HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from reasonembed_rag.errors import EvaluationError, want_one_of
from reasonembed_rag.evaluation import HEADLINE, MEASURES, Comparison, Report, Results, compare_systems
from reasonembed_rag.pages.charts import Bar, Point, bar_chart, scatter_chart
from reasonembed_rag.pages.costs import cost_table
from reasonembed_rag.pages.palette import SERIES_COLOURS
from reasonembed_rag.pages.queries import query_list
from reasonembed_rag.pages.rendering import json_block, render_template

__all__ = ["report_page"]

_SHOWN = ("nDCG@10", "recall@10", "recall@100", "P@1", "MRR")
_MOST_SCATTERS = 3
_MOST_POINTS = 2_000
"""Beyond, a point's place is rounded to 2 decimals, not 3, so that the chart stays small."""
_NAME = 70


def report_page(*systems: Results | Sequence[Report], measure: str = HEADLINE) -> str:
    """Return the page of one system's results, or of up to six systems side by side, compared pair by pair.

    With Results, the page lists the queries with their gold documents and each system's best hits. Raises
    EvaluationError for no reports, an unknown measure, more than six systems, and systems that cannot be compared.
    """
    if measure not in MEASURES:
        raise EvaluationError(f"measure is {measure!r}; {want_one_of(measure, MEASURES)}")
    sides = _in_one_order([one if isinstance(one, Results) else Results(tuple(one)) for one in systems])
    comparison = compare_systems([side.reports for side in sides], measure=measure) if len(sides) > 1 else None
    reports = [side.reports for side in sides]
    queries = query_list(sides, measure=measure)
    pairs = [pair.comparison for pair in comparison.pairs] if comparison else []
    return render_template(
        "evaluation.html.j2",
        script="queries.js",
        sides=reports,
        systems=[side[0].system.label for side in reports],
        measure=measure,
        means=[sum(report.mean(measure) for report in side) / len(side) for side in reports],
        bars=_bars(reports, measure),
        comparison=comparison,
        scatters=[_scatter(pair, sides) for pair in pairs[:_MOST_SCATTERS]],
        warnings=list(dict.fromkeys(_warnings(reports, pairs, measure))),
        shown=_SHOWN,
        slices=list(_slices(reports)),
        costs=cost_table(reports),
        queries=queries,
        data=json_block(queries.data),
        circumstances=[report for side in reports for report in _distinct(side)],
    )


def _in_one_order(sides: Sequence[Results]) -> list[Results]:
    """Return the systems with their tasks in the order of the first one's; other tasks are for compare to refuse."""
    if not sides or not all(side.reports for side in sides):
        raise EvaluationError("got no report; want at least one")
    if len(sides) > len(SERIES_COLOURS):
        raise EvaluationError(f"got {len(sides)} systems; a page shows up to {len(SERIES_COLOURS)}")
    places = {report.task.label: place for place, report in enumerate(sides[0].reports)}
    last = len(places)
    return [
        replace(side, reports=tuple(sorted(side.reports, key=lambda report: places.get(report.task.label, last))))
        for side in sides
    ]


def _bars(sides: Sequence[Sequence[Report]], measure: str) -> Markup:
    groups = {
        reports[0].task.label: [_bar(report, measure) for report in reports] for reports in zip(*sides, strict=True)
    }
    return bar_chart(groups, title=f"{measure} by task")


def _bar(report: Report, measure: str) -> Bar:
    """Return a bar; one query alone has no interval."""
    interval = report.intervals[measure] if len(report.queries) > 1 else None
    return Bar(report.mean_present[measure], interval.low if interval else None, interval.high if interval else None)


def _scatter(pair: Comparison, sides: Sequence[Results]) -> Markup:
    """Return each query's scores under two systems, in the colour of the one that does better."""
    questions = _questions(sides)
    decimals = 3 if sum(len(task.queries) for task in pair.tasks) <= _MOST_POINTS else 2
    points = [
        Point(
            questions.get((task.label, query.id), query.id), round(query.first, decimals), round(query.second, decimals)
        )
        for task in pair.tasks
        for query in task.queries
    ]
    names = [side.reports[0].system.label for side in sides]
    return scatter_chart(
        points,
        x=(pair.first, names.index(pair.first)),
        y=(pair.second, names.index(pair.second)),
        title=f"{pair.measure} query by query: {pair.first} and {pair.second}",
    )


def _questions(sides: Sequence[Results]) -> dict[tuple[str, str], str]:
    return {
        (label, query.id): " ".join(query.query.text[:_NAME].split())
        for side in sides
        for label, hits in side.top_hits.items()
        for query in hits.queries
    }


def _warnings(sides: Sequence[Sequence[Report]], pairs: Sequence[Comparison], measure: str) -> Iterator[str]:
    for pair in pairs:
        for task in pair.tasks:
            yield from (f"{task.label}: {pair.first} and {pair.second} differ in {note}" for note in task.notes)
    for side in sides:
        for report in side:
            yield from (f"{report.task.label}: {warning}" for warning in report.task.warnings)
            yield from (f"{report.task.label}, {report.system.label}: {note}" for note in _faults(report, measure))


def _faults(report: Report, measure: str) -> Iterator[str]:
    yield from report.notes
    failed = sum(query.problem is not None for query in report.queries)
    if failed:
        yield f"{failed:,} of {report.task.queries:,} queries failed and count 0"
    missing = report.task.queries - len(report.queries)
    if missing:
        yield f"{missing:,} of {report.task.queries:,} queries have no ranking and count 0"
    few = report.few_hits_note((measure, *_SHOWN))
    if few is not None:
        yield few


def _distinct(side: Sequence[Report]) -> Iterator[Report]:
    """Yield a system's first report, and those that were measured otherwise than the one before."""
    before: Report | None = None
    for report in side:
        if before is None or (before.environment, before.system) != (report.environment, report.system):
            yield report
        before = report


def _slices(sides: Sequence[Sequence[Report]]) -> Iterator[tuple[str, int, list[float | None]]]:
    """Yield each slice of each task: its name, its queries, and each system's mean where it has one."""
    for reports in zip(*sides, strict=True):
        means: list[Mapping[tuple[str, str], float]] = [
            {(part.by, part.level): part.mean for part in report.slices} for report in reports
        ]
        for part in reports[0].slices:
            found = [of_side.get((part.by, part.level)) for of_side in means]
            yield f"{reports[0].task.label}: {part.by}, {part.level}", part.queries, found
