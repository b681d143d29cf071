"""Evaluation reports as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from reasonembed_rag.evaluation import Difference, Report, SystemsComparison

__all__ = ["comparison_table", "notes", "scores_table", "slices_table", "slim_table", "tasks_table"]

_SHOWN = ("nDCG@10", "recall@10", "recall@100", "MRR")
_SHOWN_OF_LONG = ("recall@1", "nDCG@10", "recall@10", "MRR")
"""BRIGHT judges long documents by the first hit."""
_PROBLEMS_SHOWN = 5


def scores_table(reports: Sequence[Report]) -> Table:
    """Return a table of the main measures, one row per report, all of one task."""
    facts = reports[0].task
    documents = f"{facts.documents:,} documents" if facts.documents else "no documents"
    table = _new_table("system", reports, title=f"{_task(reports[0])}: {facts.queries} queries, {documents}")
    for report in reports:
        cells = [f"{100 * report.mean(measure):.1f}" for measure in _shown(reports)]
        table.add_row(_system(report), cells[0], _interval(report, reports), *cells[1:])
    return table


def tasks_table(reports: Sequence[Report]) -> Table:
    """Return a table of the main measures of one system, one row per task, and their plain mean."""
    table = _new_table("task", reports, title=_system(reports[0]))
    timed = any(report.latency for report in reports)
    if timed:
        table.add_column("p50 ms", justify="right", no_wrap=True)
    for report in reports:
        latency = [f"{1000 * report.latency.p50:.0f}" if report.latency else ""] if timed else []
        cells = [f"{100 * report.mean(measure):.2f}" for measure in _shown(reports)]
        table.add_row(_task(report), cells[0], _interval(report, reports), *cells[1:], *latency)
    if len(reports) > 1:
        table.add_section()
        means = [f"{100 * _mean(reports, measure):.2f}" for measure in _shown(reports)]
        table.add_row("mean of tasks", means[0], "", *means[1:])
    return table


def _new_table(first: str, reports: Sequence[Report], *, title: str) -> Table:
    shown = _shown(reports)
    caption = f"measures x 100; 95 %: bootstrap interval of {shown[0]}"
    return slim_table(first, (shown[0], "95 %", *shown[1:]), title=title, caption=caption)


def slim_table(first: str, figures: Sequence[str], *, title: str, caption: str | None = None) -> Table:
    """Return a table of figures that fits 80 columns: long names wrap, figures are never truncated."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, overflow="fold")
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def comparison_table(comparison: SystemsComparison) -> Table:
    """Return a table of each pair's means, their difference, its interval and p-value, task by task."""
    first, *others = comparison.systems
    several = len(others) > 1
    table = slim_table(
        "pair, task" if several else "task",
        ("first", "second", "difference", f"{100 * comparison.level:.4g} % interval", "p"),
        title=f"{comparison.measure} x 100"
        + (f" of {len(comparison.systems)} systems" if several else f": first {first}, second {others[0]}"),
        caption="paired by query: bootstrap, randomisation test; p by Holm over the rows of its kind",
    )
    for pair in comparison.pairs:
        of = pair.comparison
        if several:
            table.add_row(f"{of.first}, then {of.second}", *_difference(of.mean, pair.p_value))
        for task, p_value in zip(of.tasks, pair.task_p_values, strict=True):
            if len(of.tasks) > 1 or not several:
                table.add_row(f"  {task.label}" if several else task.label, *_difference(task.mean, p_value))
        if len(of.tasks) > 1 and not several:
            table.add_section()
            table.add_row("mean of tasks", *_difference(of.mean, pair.p_value))
    return table


def slices_table(reports: Sequence[Report]) -> Table:
    """Return a table of nDCG@10 per kind of query."""
    table = slim_table("queries", ("count", "nDCG@10"), title="nDCG@10 x 100 by kind of query")
    for report in reports:
        for part in report.slices:
            name = f"{part.by}: {part.level}" if len(reports) == 1 else f"{_task(report)}, {part.by}: {part.level}"
            table.add_row(name, str(part.queries), f"{100 * part.mean:.1f}")
    return table


def notes(report: Report) -> list[str]:
    """Return the warnings of a report: the task's, and queries that failed, found nothing or have no ranking."""
    few = report.few_hits_note(_SHOWN)
    told = (*report.task.warnings, *report.notes, *([few] if few else []))
    lines = [f"{_task(report)}: {warning}" for warning in told]
    failed = [query for query in report.queries if query.problem is not None]
    lines += [f"{_task(report)}, query {query.id}: {query.problem}; it counts 0" for query in failed[:_PROBLEMS_SHOWN]]
    if len(failed) > _PROBLEMS_SHOWN:
        lines.append(
            f"{_task(report)}: {len(failed) - _PROBLEMS_SHOWN} more of its queries failed; the report names them"
        )
    empty = sum(query.found == 0 and query.problem is None for query in report.queries)
    if empty:
        lines.append(f"{_task(report)}: queries that found nothing: {empty}")
    missing = report.task.queries - len(report.queries)
    if missing:
        lines.append(f"{_task(report)}: judged queries without a ranking, which count 0: {missing}")
    return lines


def _mean(reports: Sequence[Report], measure: str) -> float:
    return sum(report.mean(measure) for report in reports) / len(reports)


def _shown(reports: Sequence[Report]) -> tuple[str, ...]:
    return _SHOWN_OF_LONG if all(report.task.long for report in reports) else _SHOWN


def _interval(report: Report, reports: Sequence[Report]) -> str:
    interval = report.intervals.get(_shown(reports)[0])
    return f"{100 * interval.low:.1f}-{100 * interval.high:.1f}" if interval else ""


def _difference(mean: Difference, p: float) -> list[str]:
    interval = f"{100 * mean.interval.low:+.2f} to {100 * mean.interval.high:+.2f}"
    p_value = f"{p:.4f}" if p >= 0.0001 else "< 0.0001"
    return [f"{100 * mean.first:.2f}", f"{100 * mean.second:.2f}", f"{100 * mean.difference:+.2f}", interval, p_value]


def _task(report: Report) -> str:
    return f"{report.task.name} ({report.task.split})" if report.task.split else report.task.name


def _system(report: Report) -> str:
    through = report.system.through
    return report.system.name if through == "core" else f"{report.system.name} ({through})"
