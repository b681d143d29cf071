"""Robustness reports as a self-contained HTML page: drop rates, attack success and geometry."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import HEADLINE
from reasonembed_rag.pages.charts import Bar, bar_chart, line_chart
from reasonembed_rag.pages.rendering import render_template
from reasonembed_rag.perturb import PERTURBATION_KINDS
from reasonembed_rag.robustness import ModelComparison, PoisonReport, RobustnessReport

__all__ = ["robustness_page"]

_MOST_SYSTEMS = 4
"""The number of colours in the style sheet."""

_DRAWN_FIGURES = {"average_cosine": "average cosine", "isoscore": "IsoScore"}
"""The figures in the chart of the geometry; the table has all of them."""


def robustness_page(reports: Sequence[RobustnessReport], comparison: ModelComparison | None = None) -> str:
    """Return the page of up to four systems' reports, on one task or several, with the comparison of their models.

    Raises EvaluationError for no report, more systems than four, and two reports of one system on one task.
    """
    systems = _systems(reports)
    return render_template(
        "robustness.html.j2",
        systems=systems,
        reports=reports,
        facts=dict.fromkeys(
            f"{r.task.label}: {r.task.queries:,} queries, {r.task.documents or 0:,} documents" for r in reports
        ),
        headline=HEADLINE,
        tasks=[_task(reports, systems, task) for task in dict.fromkeys(report.task.label for report in reports)],
        comparison=comparison,
        audits=[(report, report.poison, _attack_chart(report.poison)) for report in reports if report.poison],
        geometry_chart=_geometry_chart([report for report in reports if report.geometry][:_MOST_SYSTEMS]),
    )


def _systems(reports: Sequence[RobustnessReport]) -> list[str]:
    if not reports:
        raise EvaluationError("got no report; want at least one")
    cells = [(report.system.label, report.task.label) for report in reports]
    if len(set(cells)) < len(cells):
        twice = next(cell for cell in cells if cells.count(cell) > 1)
        raise EvaluationError(f"got two reports of {twice[0]} on {twice[1]}; want one")
    systems = list(dict.fromkeys(system for system, _ in cells))
    if len(systems) > _MOST_SYSTEMS:
        raise EvaluationError(f"got {len(systems)} systems; a page shows up to {_MOST_SYSTEMS}")
    return systems


def _task(reports: Sequence[RobustnessReport], systems: Sequence[str], task: str) -> dict[str, object]:
    """Return one task's reports in the order of the systems, with their chart."""
    report_of = {report.system.label: report for report in reports if report.task.label == task}
    shown = [report_of[system] for system in systems if system in report_of]
    judged = all(report.clean is not None for report in shown)
    title = f"Drop rate of {HEADLINE}, %" if judged else "Share of the ten best documents that stay, %"
    kinds = [
        kind for kind in PERTURBATION_KINDS if any(result.kind == kind for report in shown for result in report.kinds)
    ]
    groups: dict[str, list[Bar | None]] = {
        kind: [_bar(report_of.get(system), kind, judged=judged) for system in systems] for kind in kinds
    }
    return {
        "label": task,
        "reports": shown,
        "systems": [report.system.label for report in shown],
        "colours": [systems.index(report.system.label) for report in shown],
        "judged": judged,
        "title": title,
        "chart": bar_chart(groups, title=title),
    }


def _bar(report: RobustnessReport | None, kind: str, *, judged: bool) -> Bar | None:
    """Return a kind's bar; None where the system was not measured under this kind or on this task."""
    found = next((result for result in report.kinds if result.kind == kind), None) if report else None
    if found is None:
        return None
    if not judged:
        return Bar(found.overlap_at_10.mean, found.overlap_at_10.interval.low, found.overlap_at_10.interval.high)
    drop = found.drops[HEADLINE]
    if drop.rate is None or drop.interval is None:
        return None
    return Bar(drop.rate, drop.interval.low, drop.interval.high)


def _geometry_chart(reports: Sequence[RobustnessReport]) -> Markup:
    groups = {
        f"{what}: {label}": [_geometry_bar(report, what, name) for report in reports]
        for what in dict.fromkeys(what for report in reports for what in report.geometry)
        for name, label in _DRAWN_FIGURES.items()
    }
    return bar_chart(groups, title="Geometry")


def _geometry_bar(report: RobustnessReport, what: str, name: str) -> Bar | None:
    if what not in report.geometry:
        return None
    return Bar(float(getattr(report.geometry[what], name)))


def _attack_chart(report: PoisonReport) -> Markup:
    lines = {attack.label: list(attack.success.values()) for attack in report.attacks}
    return line_chart(lines, ticks=[f"k = {k}" for k in report.attacks[0].success], title="ASR@k, %")
