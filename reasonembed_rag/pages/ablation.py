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
        bars=_bars(ablation.variants),
        notes=list(dict.fromkeys(note for report in full.reports for note in _notes(report))),
    )


def _notes(report: Report) -> list[str]:
    few = report.few_hits_note([HEADLINE])
    return [*report.task.warnings, *report.notes, *([few] if few else [])]


def _bars(variants: Sequence[AblatedPipeline]) -> Markup:
    """Return a bar for each variant of each task, with its interval; equal variants are drawn once."""
    distinct = {variant.stages: variant for variant in reversed(variants)}
    groups = {}
    for variant in reversed(distinct.values()):
        for report in variant.reports:
            interval = report.intervals[HEADLINE]
            label = variant.name if len(variant.reports) == 1 else f"{report.task.label}, {variant.name}"
            groups[label] = [Bar(report.mean_present[HEADLINE], interval.low, interval.high)]
    return bar_chart(groups, title=f"{HEADLINE} by variant")
