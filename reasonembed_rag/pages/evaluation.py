"""Reports as one HTML page that needs nothing beside it: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import HEADLINE, MEASURES, Comparison, Difference, Report, TaskComparison, compare
from reasonembed_rag.pages.charts import Bar, BarGroup, Point, bar_chart, scatter_chart
from reasonembed_rag.pages.layout import bullets, circumstances, page_of, section, signed, table

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
    body = [*_head(sides, measure), section(f"{measure} by task", _legend(sides) + _bars(sides, measure))]
    if comparison is not None:
        body += _comparison(comparison)
    for side in sides:
        body.append(section(f"Measures of {side[0].system.label}", _measures(side)))
    body.append(section("Where it fails: nDCG@10 by kind of query", _slices(sides)))
    body.append(section("How it was measured", _circumstances(sides)))
    title = " and ".join(side[0].system.label for side in sides)
    return page_of(title, body)


def _head(sides: Sequence[Sequence[Report]], measure: str) -> list[str]:
    title = " beside ".join(side[0].system.label for side in sides)
    queries = sum(report.task.queries for report in sides[0])
    means = " and ".join(f"{100 * sum(r.mean(measure) for r in side) / len(side):.2f}" for side in sides)
    tasks = "1 task" if len(sides[0]) == 1 else f"{len(sides[0])} tasks"
    said = f"{tasks}, {queries:,} queries; mean {measure} x 100 over the tasks, every judged query counted: {means}"
    return [f"<h1>{escape(title)}</h1>", f"<p>{escape(said)}</p>"]


def _bars(sides: Sequence[Sequence[Report]], measure: str) -> str:
    groups = [
        BarGroup(reports[0].task.label, tuple(_bar(report, measure) for report in reports))
        for reports in zip(*sides, strict=True)
    ]
    return f'<div class="scroll">{bar_chart(groups, title=f"{measure} by task")}</div>'


def _bar(report: Report, measure: str) -> Bar:
    interval = report.intervals[measure]
    return Bar(report.mean_present[measure], interval.low, interval.high)


def _legend(sides: Sequence[Sequence[Report]]) -> str:
    keys = "".join(f'<span class="key system{n}"></span>{escape(side[0].system.label)}' for n, side in enumerate(sides))
    return f"<p>{keys}; whiskers are 95 % bootstrap intervals over queries</p>"


def _comparison(comparison: Comparison) -> list[str]:
    headings = (
        "task",
        comparison.first,
        comparison.second,
        "difference",
        "95 % interval",
        "p",
        "better / same / worse",
    )
    rows = [[escape(_compared(task)), *_difference(task.mean), _counts(task)] for task in comparison.tasks]
    if len(comparison.tasks) > 1:
        rows.append(["<b>mean of tasks</b>", *_difference(comparison.mean), ""])
    points = [
        Point(f"{task.task} {pair.id}", pair.first, pair.second) for task in comparison.tasks for pair in task.queries
    ]
    chart = scatter_chart(
        points, x_label=comparison.first, y_label=comparison.second, title=f"{comparison.measure} query by query"
    )
    notes = [f"{_compared(task)}: {note}" for task in comparison.tasks for note in task.notes]
    said = "<p>Paired by query: percentile bootstrap, two-sided randomisation test.</p>" + bullets(notes)
    return [
        section(f"{comparison.measure} x 100 compared", said + table(headings, rows)),
        section(
            "Query by query",
            f"<p>Each dot is a query; above the diagonal {escape(comparison.second)} is better.</p>"
            f'<div class="scroll">{chart}</div>',
        ),
        section("Queries that differ most", _largest(comparison)),
    ]


def _largest(comparison: Comparison) -> str:
    pairs = [(task.task, pair) for task in comparison.tasks for pair in task.queries if pair.first != pair.second]
    pairs.sort(key=lambda item: -abs(item[1].second - item[1].first))
    rows = [
        [escape(f"{task} {pair.id}"), f"{pair.first:.3f}", f"{pair.second:.3f}", signed(pair.second - pair.first, 3)]
        for task, pair in pairs[:_LARGEST_DIFFERENCES]
    ]
    return table(("query", comparison.first, comparison.second, "difference"), rows) if rows else "<p>None.</p>"


def _difference(mean: Difference) -> list[str]:
    interval = f"{100 * mean.interval.low:+.2f} to {100 * mean.interval.high:+.2f}"
    p_value = f"{mean.p_value:.4f}" if mean.p_value >= 0.0001 else "&lt; 0.0001"
    return [
        f"{100 * mean.first:.2f}",
        f"{100 * mean.second:.2f}",
        signed(100 * mean.difference, 2),
        interval,
        p_value,
    ]


def _counts(task: TaskComparison) -> str:
    better = sum(pair.second > pair.first for pair in task.queries)
    worse = sum(pair.second < pair.first for pair in task.queries)
    return f"{better} / {len(task.queries) - better - worse} / {worse}"


def _measures(reports: Sequence[Report]) -> str:
    timed = any(report.latency for report in reports)
    rows = [
        [
            escape(report.task.label),
            *(f"{100 * report.mean(measure):.2f}" for measure in _SHOWN),
            *(_times(report) if timed else []),
            str(sum(query.problem is not None for query in report.queries)),
        ]
        for report in reports
    ]
    return table(("task", *_SHOWN, *(("p50 ms", "p95 ms") if timed else ()), "failed"), rows)


def _times(report: Report) -> list[str]:
    latency = report.latency
    return [f"{1000 * latency.p50:.1f}", f"{1000 * latency.p95:.1f}"] if latency else ["", ""]


def _slices(sides: Sequence[Sequence[Report]]) -> str:
    rows: list[list[str]] = []
    for reports in zip(*sides, strict=True):
        means = [{(part.by, part.level): part.mean for part in report.slices} for report in reports]
        for part in reports[0].slices:
            found = [of_side.get((part.by, part.level)) for of_side in means]
            cells = [f"{mean:.3f}" if mean is not None else "" for mean in found]
            rows.append([escape(f"{reports[0].task.label}: {part.by}, {part.level}"), str(part.queries), *cells])
    headings = ("queries", "count", *(side[0].system.label for side in sides))
    return table(headings, rows) if rows else "<p>No cut parts these queries.</p>"


def _circumstances(sides: Sequence[Sequence[Report]]) -> str:
    parts: list[str] = []
    for side in sides:
        warnings = [f"{report.task.label}: {warning}" for report in side for warning in report.task.warnings]
        warnings += [f"{report.task.label}: {note}" for report in side for note in report.notes]
        warnings += [f"{report.task.label}: {report.costs()}" for report in side if report.costs()]
        parts.append(circumstances(side[0].system, side[0].environment, created=side[0].created) + bullets(warnings))
    return "".join(parts)


def _compared(task: TaskComparison) -> str:
    return f"{task.task} ({task.split})" if task.split else task.task
