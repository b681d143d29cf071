"""Reports as one HTML page that needs nothing beside it: no script, no font, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation.charts import Bar, BarGroup, Point, bar_chart, scatter_chart
from reasonembed_rag.evaluation.compare import Comparison, Difference, TaskComparison, compare
from reasonembed_rag.evaluation.metrics import HEADLINE, MEASURES
from reasonembed_rag.evaluation.report import Report

__all__ = ["report_page"]

_SHOWN = ("nDCG@10", "recall@10", "recall@100", "P@1", "MRR")
_LARGEST_DIFFERENCES = 20

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#667085;--line:#e3e7ee;--paper:#fff;--panel:#f6f8fb;
--a:#3b6fb6;--b:#d1782c;--up:#2e8b57;--down:#c0392b}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#303744;--paper:#14171d;--panel:#1c2129;
--a:#6ea3e8;--b:#e59a57;--up:#5dbb85;--down:#e57368}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:920px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:17px;margin:36px 0 8px}
p{margin:4px 0;color:var(--soft)}svg{max-width:100%;height:auto;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:bottom}
th{font-weight:600;color:var(--soft)}td{white-space:nowrap}
th:first-child,td:first-child{text-align:left;white-space:normal;overflow-wrap:break-word;min-width:170px}
.up{color:var(--up)}.down{color:var(--down)}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 12px}
.key:first-child{margin-left:0}.system0{fill:var(--a);background:var(--a)}.system1{fill:var(--b);background:var(--b)}
text{font-size:12px;fill:var(--ink)}.tick{fill:var(--soft);font-size:11px}.value{font-size:11px}
.grid{stroke:var(--line);fill:none}.whisker{stroke:var(--ink);stroke-opacity:.65;fill:none}
.diagonal{stroke:var(--soft);stroke-dasharray:4 4;fill:none}
.dot{fill-opacity:.55}.dot.up{fill:var(--up)}.dot.down{fill:var(--down)}.dot.level{fill:var(--soft)}
pre{background:var(--panel);padding:12px;overflow-x:auto;font-size:12px;border-radius:6px;white-space:pre-wrap}
ul{margin:4px 0;padding-left:20px;color:var(--soft)}
"""


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
        by_task = {_task(report): report for report in second}
        sides.append([by_task[_task(report)] for report in first])
    body = [*_head(sides, measure), _section(f"{measure} by task", _legend(sides) + _bars(sides, measure))]
    if comparison is not None:
        body += _comparison(comparison)
    for side in sides:
        body.append(_section(f"Measures of {_name(side[0])}", _measures(side)))
    body.append(_section("Where it fails: nDCG@10 by kind of query", _slices(sides)))
    body.append(_section("How it was measured", _circumstances(sides)))
    title = " and ".join(_name(side[0]) for side in sides)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>\n"
    )


def _head(sides: Sequence[Sequence[Report]], measure: str) -> list[str]:
    title = " beside ".join(_name(side[0]) for side in sides)
    queries = sum(report.task.queries for report in sides[0])
    means = " and ".join(f"{100 * sum(r.mean(measure) for r in side) / len(side):.2f}" for side in sides)
    tasks = "1 task" if len(sides[0]) == 1 else f"{len(sides[0])} tasks"
    said = f"{tasks}, {queries:,} queries; mean {measure} x 100 over the tasks, every judged query counted: {means}"
    return [f"<h1>{escape(title)}</h1>", f"<p>{escape(said)}</p>"]


def _bars(sides: Sequence[Sequence[Report]], measure: str) -> str:
    groups = [
        BarGroup(_task(reports[0]), tuple(_bar(report, measure) for report in reports))
        for reports in zip(*sides, strict=True)
    ]
    return f'<div class="scroll">{bar_chart(groups, title=f"{measure} by task")}</div>'


def _bar(report: Report, measure: str) -> Bar:
    interval = report.intervals[measure]
    return Bar(report.mean_present[measure], interval.low, interval.high)


def _legend(sides: Sequence[Sequence[Report]]) -> str:
    keys = "".join(f'<span class="key system{n}"></span>{escape(_name(side[0]))}' for n, side in enumerate(sides))
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
    said = "<p>Paired by query: percentile bootstrap, two-sided randomisation test.</p>" + _list(notes)
    return [
        _section(f"{comparison.measure} x 100 compared", said + _table(headings, rows)),
        _section(
            "Query by query",
            f"<p>Each dot is a query; above the diagonal {escape(comparison.second)} is better.</p>"
            f'<div class="scroll">{chart}</div>',
        ),
        _section("Queries that differ most", _largest(comparison)),
    ]


def _largest(comparison: Comparison) -> str:
    pairs = [(task.task, pair) for task in comparison.tasks for pair in task.queries if pair.first != pair.second]
    pairs.sort(key=lambda item: -abs(item[1].second - item[1].first))
    rows = [
        [escape(f"{task} {pair.id}"), f"{pair.first:.3f}", f"{pair.second:.3f}", _signed(pair.second - pair.first, 3)]
        for task, pair in pairs[:_LARGEST_DIFFERENCES]
    ]
    return _table(("query", comparison.first, comparison.second, "difference"), rows) if rows else "<p>None.</p>"


def _difference(mean: Difference) -> list[str]:
    interval = f"{100 * mean.interval.low:+.2f} to {100 * mean.interval.high:+.2f}"
    p_value = f"{mean.p_value:.4f}" if mean.p_value >= 0.0001 else "&lt; 0.0001"
    return [
        f"{100 * mean.first:.2f}",
        f"{100 * mean.second:.2f}",
        _signed(100 * mean.difference, 2),
        interval,
        p_value,
    ]


def _counts(task: TaskComparison) -> str:
    better = sum(pair.second > pair.first for pair in task.queries)
    worse = sum(pair.second < pair.first for pair in task.queries)
    return f"{better} / {len(task.queries) - better - worse} / {worse}"


def _signed(value: float, decimals: int) -> str:
    kind = "up" if value > 0 else "down" if value < 0 else ""
    return f'<span class="{kind}">{value:+.{decimals}f}</span>'


def _measures(reports: Sequence[Report]) -> str:
    rows = [[escape(_task(r)), *(f"{100 * r.mean(measure):.2f}" for measure in _SHOWN), *_costs(r)] for r in reports]
    return _table(("task", *_SHOWN, "p50 ms", "p95 ms", "failed"), rows)


def _costs(report: Report) -> list[str]:
    latency = report.latency
    times = [f"{1000 * latency.p50:.1f}", f"{1000 * latency.p95:.1f}"] if latency else ["", ""]
    return [*times, str(sum(query.problem is not None for query in report.queries))]


def _slices(sides: Sequence[Sequence[Report]]) -> str:
    rows: list[list[str]] = []
    for reports in zip(*sides, strict=True):
        means = [{(part.by, part.level): part.mean for part in report.slices} for report in reports]
        for part in reports[0].slices:
            found = [of_side.get((part.by, part.level)) for of_side in means]
            cells = [f"{mean:.3f}" if mean is not None else "" for mean in found]
            rows.append([escape(f"{_task(reports[0])}: {part.by}, {part.level}"), str(part.queries), *cells])
    headings = ("queries", "count", *(_name(side[0]) for side in sides))
    return _table(headings, rows) if rows else "<p>No cut parts these queries.</p>"


def _circumstances(sides: Sequence[Sequence[Report]]) -> str:
    parts: list[str] = []
    for side in sides:
        environment = side[0].environment
        versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
        lines = (
            f"$ {environment.command}",
            f"Python {environment.python}; {versions}",
            f"{environment.processor}, {environment.cpus} CPUs, {environment.memory_gib} GiB; {environment.system}",
            f"spec {side[0].system.spec.digest() if side[0].system.spec else 'none'}; {side[0].created}",
        )
        warnings = [f"{_task(report)}: {warning}" for report in side for warning in report.task.warnings]
        warnings += [f"{_task(report)}: {note}" for report in side for note in report.notes]
        warnings += [f"{_task(report)}: {report.costs()}" for report in side if report.costs()]
        parts.append(f"<p>{escape(_name(side[0]))}</p><pre>{escape(chr(10).join(lines))}</pre>{_list(warnings)}")
    return "".join(parts)


def _table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are HTML already, headings are text."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>" if items else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _compared(task: TaskComparison) -> str:
    return f"{task.task} ({task.split})" if task.split else task.task


def _task(report: Report) -> str:
    return f"{report.task.name} ({report.task.split})" if report.task.split else report.task.name


def _name(report: Report) -> str:
    through = report.system.through
    return report.system.name if through == "core" else f"{report.system.name} ({through})"
