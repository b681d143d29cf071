"""An ablation as a self-contained HTML page: what each stage gains, and what each variant costs."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reasonembed_rag.ablation import AblatedPipeline, Ablation
from reasonembed_rag.evaluation import HEADLINE, Report
from reasonembed_rag.pages.charts import Bar, bar_chart
from reasonembed_rag.pages.rendering import render_template

__all__ = ["ablation_page"]


def ablation_page(ablation: Ablation) -> str:
    """Return the page of an ablation."""
    full = ablation.variants[0]
    return render_template(
        "ablation.html.j2",
        title=f"Stages of {' + '.join(full.stages)}",
        ablation=ablation,
        full=full,
        tasks=[report.task for report in full.reports],
        measure=HEADLINE,
        charts=[(report.task.label, _chart(ablation.variants, number)) for number, report in enumerate(full.reports)],
        notes=list(dict.fromkeys(note for report in full.reports for note in _notes(report))),
    )


def _notes(report: Report) -> list[str]:
    few = report.few_hits_note([HEADLINE])
    return [*report.task.warnings, *report.notes, *([few] if few else [])]


def _chart(variants: Sequence[AblatedPipeline], task: int) -> Markup:
    """Return a bar for each variant of a task, with its interval; equal variants are drawn once."""
    distinct = {variant.stages: variant for variant in reversed(variants)}
    groups = {}
    for variant in reversed(distinct.values()):
        report = variant.reports[task]
        interval = report.intervals[HEADLINE]
        groups[variant.name] = [Bar(report.mean_present[HEADLINE], interval.low, interval.high)]
    return bar_chart(groups, title=f"{HEADLINE} by variant, {report.task.label}")
