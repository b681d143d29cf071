"""Evaluation reports of one or two systems as a self-contained HTML page: no script, font or network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import HEADLINE, MEASURES, Comparison, QueryPair, Report, compare
from reasonembed_rag.pages.charts import Bar, Point, bar_chart, scatter_chart
from reasonembed_rag.pages.rendering import render_template

__all__ = ["report_page"]

_SHOWN = ("nDCG@10", "recall@10", "recall@100", "P@1", "MRR")
_LARGEST_DIFFERENCES = 20


def report_page(first: Sequence[Report], second: Sequence[Report] = (), *, measure: str = HEADLINE) -> str:
    """Return the page of one system's reports, or of two systems side by side.

    Raises EvaluationError for no reports, an unknown measure, and two sides that cannot be compared.
    """
    if not first:
        raise EvaluationError("got no report; want at least one")
    if measure not in MEASURES:
        raise EvaluationError(f"measure is {measure!r}; want one of {', '.join(MEASURES)}")
    comparison = compare(first, second, measure=measure) if second else None
    sides = [list(first)]
    if comparison is not None:
        by_task = {report.task.label: report for report in second}
        sides.append([by_task[report.task.label] for report in first])
    return render_template(
        "evaluation.html.j2",
        sides=sides,
        systems=[side[0].system.label for side in sides],
        measure=measure,
        means=[sum(report.mean(measure) for report in side) / len(side) for side in sides],
        bars=_bars(sides, measure),
        comparison=comparison,
        scatter=_scatter(comparison) if comparison else None,
        largest=_largest(comparison) if comparison else None,
        shown=_SHOWN,
        slices=list(_slices(sides)),
    )


def _bars(sides: Sequence[Sequence[Report]], measure: str) -> Markup:
    pairs = zip(*sides, strict=True)
    groups = {reports[0].task.label: [_bar(report, measure) for report in reports] for reports in pairs}
    return bar_chart(groups, title=f"{measure} by task")


def _bar(report: Report, measure: str) -> Bar:
    interval = report.intervals[measure]
    return Bar(report.mean_present[measure], interval.low, interval.high)


def _scatter(comparison: Comparison) -> Markup:
    points = [
        Point(f"{task.task} {pair.id}", pair.first, pair.second) for task in comparison.tasks for pair in task.queries
    ]
    title = f"{comparison.measure} query by query"
    return scatter_chart(points, x_label=comparison.first, y_label=comparison.second, title=title)


def _largest(comparison: Comparison) -> list[tuple[str, QueryPair]]:
    """Return the task and scores of the queries on which the systems differ most."""
    pairs = [(task.task, pair) for task in comparison.tasks for pair in task.queries if pair.first != pair.second]
    return sorted(pairs, key=lambda item: -abs(item[1].second - item[1].first))[:_LARGEST_DIFFERENCES]


def _slices(sides: Sequence[Sequence[Report]]) -> Iterator[tuple[str, int, list[float | None]]]:
    """Yield each slice of each task: its name, its queries, and each system's mean where it has one."""
    for reports in zip(*sides, strict=True):
        means = [{(part.by, part.level): part.mean for part in report.slices} for report in reports]
        for part in reports[0].slices:
            found = [of_side.get((part.by, part.level)) for of_side in means]
            yield f"{reports[0].task.label}: {part.by}, {part.level}", part.queries, found
