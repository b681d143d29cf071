"""Robustness reports as one HTML page that needs nothing beside it: bars of drop rates, lines of ASR, geometry."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reasonembed_rag.errors import EvaluationError
from reasonembed_rag.evaluation import HEADLINE
from reasonembed_rag.pages.charts import Bar, BarGroup, Line, bar_chart, line_chart
from reasonembed_rag.pages.layout import bullets, circumstances, page_of, section, signed, table
from reasonembed_rag.perturb import KINDS
from reasonembed_rag.robustness import (
    Contrast,
    DefenceScore,
    Drop,
    KindResult,
    Level,
    ModelComparison,
    PoisonReport,
    RobustnessReport,
)

__all__ = ["GEOMETRY_FIGURES", "attack_label", "poison_part", "robustness_page"]

_MOST_SYSTEMS = 4
"""As many colours as there are."""

_GEOMETRY_NAMES = {"average_cosine": "average cosine", "isoscore": "IsoScore"}
"""What is drawn; the other figures stand in the table."""
GEOMETRY_FIGURES = (
    ("vectors", "{:,}"),
    ("dimension", "{:,}"),
    ("average_cosine", "{:.4f}"),
    ("isoscore", "{:.4f}"),
    ("effective_rank", "{:.1f}"),
    ("uniformity", "{:.3f}"),
    ("hubness", "{:.2f}"),
    ("alignment", "{:.3f}"),
)
_HEADINGS = tuple(name.replace("_", " ") for name, _ in GEOMETRY_FIGURES)


def robustness_page(reports: Sequence[RobustnessReport], comparison: ModelComparison | None = None) -> str:
    """Return the page of up to four systems' reports, on one task or several, with the comparison of their models.

    Raises EvaluationError for no report, more systems than four, and two reports of one system on one task.
    """
    systems = _systems(reports)
    tasks = list(dict.fromkeys(report.task.label for report in reports))
    of_task = {task: [report for report in reports if report.task.label == task] for task in tasks}
    body = _head(systems, reports)
    for task, own in of_task.items():
        body += _task_sections(own, systems, where=f", {task}" if len(tasks) > 1 else "")
    if comparison is not None:
        body += _comparison(comparison)
    for report in reports:
        if report.poison is not None:
            body.append(section(f"Poison: {_of(report)}", poison_part(report.poison)))
    body.append(_geometry(reports))
    body.append(section("How it was measured", "".join(_circumstances(report) for report in reports)))
    return page_of(f"Robustness of {' and '.join(systems)}", body)


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


def _head(systems: Sequence[str], reports: Sequence[RobustnessReport]) -> list[str]:
    seeds = ", ".join(map(str, reports[0].seeds))
    facts = "; ".join(
        dict.fromkeys(
            f"{r.task.label}: {r.task.queries:,} queries, {r.task.documents or 0:,} documents" for r in reports
        )
    )
    return [
        f"<h1>{escape('Robustness of ' + ' beside '.join(systems))}</h1>",
        f"<p>{escape(facts)}; one variation a query and seed, seeds {escape(seeds)}</p>",
    ]


def _task_sections(own: Sequence[RobustnessReport], systems: Sequence[str], *, where: str) -> list[str]:
    judged = all(report.clean is not None for report in own)
    report_of = {report.system.label: report for report in own}
    own = [report_of[system] for system in systems if system in report_of]
    legend = "".join(
        f'<span class="key system{systems.index(r.system.label)}"></span>{escape(r.system.label)}' for r in own
    )
    what = f"Drop rate of {HEADLINE}, %" if judged else "Share of the ten best documents that stay, %"
    said = (
        "drop rate = (clean - perturbed) / clean, negative for a gain; whiskers are 95 % bootstrap intervals, queries "
        "drawn in pairs"
        if judged
        else "no query is judged: rankings before and after are compared"
    )
    kinds = [kind for kind in KINDS if any(result.kind == kind for report in own for result in report.kinds)]
    groups = [
        BarGroup(kind, tuple(_bar(report_of.get(system), kind, judged=judged) for system in systems)) for kind in kinds
    ]
    chart = f'<div class="scroll">{bar_chart(groups, title=what)}</div>'
    sections = [section(f"{what}{where}", f"<p>{legend}; {said}</p>{chart}")]
    for report in own:
        title = f"By kind: {report.system.label}{where}" if len(own) > 1 else f"By kind{where}"
        sections.append(section(title, _kinds(report) + bullets(_said(report))))
    sections.append(section(f"What was done to the queries{where}", _examples(own[0])))
    return sections


def _bar(report: RobustnessReport | None, kind: str, *, judged: bool) -> Bar | None:
    """Return a bar; none for a kind, or a task, that this system was not asked with."""
    found = next((result for result in report.kinds if result.kind == kind), None) if report else None
    if found is None:
        return None
    if not judged:
        return Bar(found.overlap_at_10.mean, found.overlap_at_10.interval.low, found.overlap_at_10.interval.high)
    drop = found.drops[HEADLINE]
    if drop.rate is None or drop.interval is None:
        return None
    return Bar(drop.rate, drop.interval.low, drop.interval.high)


def _kinds(report: RobustnessReport) -> str:
    judged = report.clean is not None
    headings = ["kind"]
    rows = [_row(result, judged=judged) for result in report.kinds]
    if report.clean is not None:
        headings += [HEADLINE, "drop %", "95 %", "std over seeds", "recall@10 drop %"]
        rows.insert(0, ["clean", f"{100 * report.clean.mean(HEADLINE):.2f}", *[""] * 8])
    headings += ["overlap @10", "RBO .9", "queries changed", "accepted"]
    return table(headings, rows, kind="slim")


def _row(result: KindResult, *, judged: bool) -> list[str]:
    cells = [escape(result.kind)]
    if judged:
        drop = result.drops[HEADLINE]
        cells += [f"{100 * drop.perturbed:.2f}", *_drop(drop)]
        recall = result.drops["recall@10"].rate
        cells.append(f"{100 * recall:+.1f}" if recall is not None else "")
    rate = result.acceptance.rate if result.acceptance else None
    return [
        *cells,
        f"{result.overlap_at_10.mean:.3f}",
        f"{result.rank_biased_overlap.mean:.3f}",
        f"{result.changed:g}",
        f"{100 * rate:.0f} %" if rate is not None else "",
    ]


def _drop(drop: Drop) -> list[str]:
    if drop.rate is None or drop.interval is None:
        return ["", "", ""]
    kind = "down" if drop.rate > 0 else "up"
    interval = f"{100 * drop.interval.low:+.1f} to {100 * drop.interval.high:+.1f}"
    return [f'<span class="{kind}">{100 * drop.rate:+.1f}</span>', interval, f"{100 * drop.deviation:.1f}"]


def _said(report: RobustnessReport) -> list[str]:
    """Say what was skipped, left as it was, and failed."""
    said = [f"{kind} skipped: {reason}" for kind, reason in report.skipped.items()]
    for result in report.kinds:
        left = ", ".join(f"{reason} ({count / len(report.seeds):g})" for reason, count in result.kept.items())
        said += [f"{result.kind}, queries left as they are (mean over the seeds): {left}"] if left else []
        said += [f"{result.kind}: the retriever failed for {result.failed}, which count 0"] if result.failed else []
    return [*said, *report.notes]


def _examples(report: RobustnessReport) -> str:
    rows = [[escape(r.kind), escape(r.example[0]), escape(r.example[1])] for r in report.kinds if r.example]
    return table(("kind", "query", "variant"), rows, kind="slim texts") if rows else "<p>Nothing.</p>"


def _comparison(comparison: ModelComparison) -> list[str]:
    rows: list[list[str]] = []
    for contrast in comparison.contrasts:
        rows.append(_contrast_row(contrast))
        rows += [
            [f"&ensp;{escape(level.name)}", str(level.queries), signed(100 * level.difference, 2), _ends(level)]
            for level in contrast.levels
        ]
    said = (
        f"Difference in {comparison.measure} x 100 from {comparison.baseline}: contrasts of estimated marginal means, "
        f"every level counting the same; 95 % bootstrap intervals over {comparison.resampled}."
    )
    parts = [f"<p>{escape(said)}</p>", table(("contrast", "queries", "difference", "95 %"), rows)]
    trades = [
        [
            escape(trade.model),
            f"{100 * trade.tax:+.2f}" if trade.tax is not None else "no general task",
            f"{100 * trade.gain:+.2f}" if trade.gain is not None else "no reasoning task",
        ]
        for trade in comparison.trades
    ]
    general = ", ".join(comparison.general_models)
    headings = ("model", "specialization tax", "reasoning gain")
    told = f"<p>Against the best of {escape(general)}; reasoning tasks are those of BRIGHT.</p>"
    return [section("Models compared", "".join(parts)), section("Tax and gain", told + table(headings, trades))]


def _contrast_row(contrast: Contrast) -> list[str]:
    queries = sum(level.queries for level in contrast.levels)
    name = f"<b>{escape(contrast.model)}, by {escape(contrast.factor)}</b>"
    return [name, str(queries), signed(100 * contrast.difference, 2), _ends(contrast)]


def _ends(of: Contrast | Level) -> str:
    return f"{100 * of.interval.low:+.2f} to {100 * of.interval.high:+.2f}"


def _geometry(reports: Sequence[RobustnessReport]) -> str:
    measured = [(report, what, figures) for report in reports for what, figures in report.geometry.items()]
    if not measured:
        return ""
    rows = [
        [
            escape(f"{_of(report)}: {what}"),
            *(
                form.format(value) if (value := getattr(figures, name)) is not None else ""
                for name, form in GEOMETRY_FIGURES
            ),
        ]
        for report, what, figures in measured
    ]
    groups = [
        BarGroup(
            f"{what}: {_GEOMETRY_NAMES[name]}",
            tuple(_plain_bar(report, what, name) for report in _with_geometry(reports)),
        )
        for what in dict.fromkeys(what for _, what, _ in measured)
        for name in _GEOMETRY_NAMES
    ]
    keys = "".join(
        f'<span class="key system{place}"></span>{escape(_of(report))}'
        for place, report in enumerate(_with_geometry(reports))
    )
    chart = f'<p>{keys}; x 100</p><div class="scroll">{bar_chart(groups, title="Geometry")}</div>'
    said = (
        "<p>A diagnostic, never a target: changing these figures by training did not make retrievers more robust.</p>"
    )
    return section("Geometry of the vectors", said + chart + table(("vectors of", *_HEADINGS), rows, kind="slim"))


def _with_geometry(reports: Sequence[RobustnessReport]) -> list[RobustnessReport]:
    return [report for report in reports if report.geometry][:_MOST_SYSTEMS]


def _plain_bar(report: RobustnessReport, what: str, name: str) -> Bar | None:
    if what not in report.geometry:
        return None
    value = float(getattr(report.geometry[what], name))
    return Bar(value, value, value)


def _circumstances(report: RobustnessReport) -> str:
    parts = [circumstances(report.system, report.environment, created=report.created)]
    said = [*report.task.warnings, *(report.clean.notes if report.clean else ())]
    if report.clean is not None and report.clean.costs():
        said.append(report.clean.costs())
    return "".join([*parts, bullets([f"{report.task.label}: {one}" for one in said])])


def _of(report: RobustnessReport) -> str:
    return f"{report.system.label}, {report.task.label}"


_LABELS = {
    "hotflip": "HotFlip",
    "random": "random tokens",
    "corpus_words": "words of the corpus",
    "poisoned_rag": "PoisonedRAG",
    "trust_filter": "TrustRAG-style filter",
    "hubness_guard": "hubness guard",
    "near_duplicates": "near-duplicate removal",
}


def poison_part(report: PoisonReport) -> str:
    """Return the HTML of a poisoning audit."""
    ks = list(report.attacks[0].success)
    said = (
        f"{report.queries:,} queries measured, {report.attacker_queries:,} others known to the attacker; copies of "
        f"{report.documents:,} documents, the index itself untouched. HotFlip: {report.tokens} tokens a passage, "
        f"{report.steps:,} steps, {report.candidates} candidates, seed {report.seed}. "
        "ASR@k: share of queries with an adversarial passage among their k best."
    )
    lines = [Line(attack_label(attack.name), tuple(attack.success[k] for k in ks)) for attack in report.attacks]
    chart = line_chart(lines, places=[f"k = {k}" for k in ks], title="ASR@k, %")
    rows = [
        [escape(attack_label(attack.name)), f"{attack.passages:,}", *(f"{100 * attack.success[k]:.1f}" for k in ks)]
        for attack in report.attacks
    ]
    attacks = table(("attack", "passages", *(f"ASR@{k}, %" for k in ks)), rows, kind="slim")
    example = f"<p>A passage of HotFlip's:</p><pre>{escape(report.attacks[0].example)}</pre>"
    return "".join(
        [f"<p>{escape(said)}</p>", f'<div class="scroll">{chart}</div>', attacks, _defences(report, ks), example]
    )


def attack_label(name: str) -> str:
    """Return an attack's or a defence's name in words."""
    return _LABELS.get(name, name)


def _defences(report: PoisonReport, ks: Sequence[int]) -> str:
    k = 20 if 20 in ks else ks[-1]
    headings = ["defence", *(f"{attack_label(attack.name)} ASR@{k}, %" for attack in report.attacks)]
    headings += ["clean nDCG@10", "cost", "clean top ten dropped, %"]
    clean = f"{100 * report.clean_ndcg:.2f}" if report.clean_ndcg is not None else ""
    rows = [["none", *(f"{100 * attack.success[k]:.1f}" for attack in report.attacks), clean, "", ""]]
    rows += [_defence(report, defence, k) for defence in report.defences]
    ranks = ", ".join("not found" if rank is None else str(rank) for rank in report.hub_ranks)
    hubs = (
        f"hubness scan of {report.guard_queries:,} queries at k = {report.hub_k}, flagged from z = {report.hub_z:g} "
        f"and a share of {report.hub_share:g}: places of HotFlip's passages among "
        f"{report.documents + len(report.hub_ranks):,}: {ranks}"
    )
    return table(headings, rows, kind="slim") + bullets([hubs])


def _defence(report: PoisonReport, defence: DefenceScore, k: int) -> list[str]:
    cells = [escape(attack_label(defence.name))]
    cells += [f"{100 * defence.success[attack.name][k]:.1f}" for attack in report.attacks]
    if defence.clean_ndcg is None or report.clean_ndcg is None:
        cells += ["", ""]
    else:
        cells += [f"{100 * defence.clean_ndcg:.2f}", signed(100 * (defence.clean_ndcg - report.clean_ndcg), 2)]
    return [*cells, f"{100 * defence.clean_dropped:.1f}"]
