"""Robustness reports as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasonembed_cli.eval_tables import slim_table

if TYPE_CHECKING:
    from rich.table import Table

    from reasonembed_rag.robustness import KindResult, ModelComparison, PoisonReport, RobustnessReport

__all__ = ["contrasts_table", "geometry_table", "kinds_table", "poison_table", "robustness_notes", "trades_table"]


def kinds_table(report: RobustnessReport) -> Table:
    """Return a table of the effect of each kind of perturbation."""
    title = f"{report.system.label}, {report.task.label}: {report.task.queries} queries"
    if report.clean is None:
        table = slim_table(
            "kind", ("overlap@10", "95 %", "RBO .9"), title=title, caption="no judgements: rankings are compared"
        )
        for result in report.kinds:
            interval = result.overlap_at_10.interval
            bounds = f"{interval.low:.3f} to {interval.high:.3f}"
            table.add_row(
                result.kind, f"{result.overlap_at_10.mean:.3f}", bounds, f"{result.rank_biased_overlap.mean:.3f}"
            )
        return table
    figures = ("nDCG@10", "drop %", "95 %", "std", "R@10 drop %", "overlap@10")
    caption = "drop = (clean - perturbed) / clean; 95 %: paired bootstrap; std: seeds"
    table = slim_table("kind", figures, title=title, caption=caption)
    table.add_row("clean", f"{100 * report.clean.mean('nDCG@10'):.2f}", *[""] * 5)
    for result in report.kinds:
        table.add_row(result.kind, *_figures(result))
    return table


def geometry_table(report: RobustnessReport) -> Table:
    """Return a table of the vectors' geometry, one column per set of vectors."""
    table = slim_table("vectors of", tuple(report.geometry), title="geometry, a diagnostic")
    columns = [geometry.figures() for geometry in report.geometry.values()]
    for name in columns[0] if columns else ():
        table.add_row(name, *(figures[name] for figures in columns))
    return table


def poison_table(report: PoisonReport) -> Table:
    """Return a table of the attacks without and with each defence, and of what the defences cost."""
    ks = list(report.attacks[0].success)
    table = slim_table(
        "attack, defence",
        (*(f"ASR@{k}" for k in ks), "clean nDCG@10"),
        title=f"poison: {report.attacks[0].passages} passages per query-agnostic attack, {report.queries} queries",
        caption="ASR@k in %: queries with poison in their top k; a defence filters the top k",
    )
    clean = f"{100 * report.clean_ndcg:.2f}" if report.clean_ndcg is not None else ""
    for attack in report.attacks:
        table.add_row(attack.label, *(f"{100 * attack.success[k]:.1f}" for k in ks), clean)
    table.add_section()
    for defence in report.defences:
        clean_behind = f"{100 * defence.clean_ndcg:.2f}" if defence.clean_ndcg is not None else ""
        for position, attack in enumerate(report.attacks):
            name = f"{attack.label}, {defence.label}"
            rates = defence.success[attack.name]
            table.add_row(name, *(f"{100 * rates[k]:.1f}" for k in ks), clean_behind if position == 0 else "")
    return table


def contrasts_table(comparison: ModelComparison) -> Table:
    """Return a table of the models' contrasts from the baseline."""
    title = f"{comparison.measure} x 100 from {comparison.baseline}"
    caption = f"contrasts of estimated marginal means; 95 % over {comparison.resampled}"
    table = slim_table("model, by", ("queries", "difference", "95 %"), title=title, caption=caption)
    for contrast in comparison.contrasts:
        queries = sum(level.queries for level in contrast.levels)
        bounds = f"{100 * contrast.interval.low:+.2f} to {100 * contrast.interval.high:+.2f}"
        table.add_row(f"{contrast.model}, {contrast.factor}", str(queries), f"{100 * contrast.difference:+.2f}", bounds)
        for level in contrast.levels:
            bounds = f"{100 * level.interval.low:+.2f} to {100 * level.interval.high:+.2f}"
            table.add_row(f"  {level.name}", str(level.queries), f"{100 * level.difference:+.2f}", bounds)
    return table


def trades_table(comparison: ModelComparison) -> Table:
    """Return a table of each model's specialization tax and reasoning gain."""
    general = ", ".join(comparison.general_models)
    table = slim_table("model", ("tax", "gain"), title="tax and gain", caption=f"against the best of {general}")
    for trade in comparison.trades:
        tax = f"{100 * trade.tax:+.2f}" if trade.tax is not None else "no general task"
        gain = f"{100 * trade.gain:+.2f}" if trade.gain is not None else "no reasoning task"
        table.add_row(trade.model, tax, gain)
    return table


def robustness_notes(report: RobustnessReport) -> list[str]:
    """Return warnings of the task, skipped kinds, and queries that were left unchanged or failed."""
    lines = [*report.task.warnings, *report.notes]
    lines += [f"{kind} skipped: {reason}" for kind, reason in report.skipped.items()]
    for result in report.kinds:
        lines += _kind_notes(result, seeds=len(report.seeds))
    return [f"{report.task.label}: {one}" for one in lines]


def _kind_notes(result: KindResult, *, seeds: int) -> list[str]:
    unchanged = ", ".join(f"{reason} {count / seeds:g}" for reason, count in result.kept.items())
    lines = [f"{result.kind} left queries unchanged (mean over the seeds): {unchanged}"] if unchanged else []
    if result.failed:
        lines.append(f"{result.kind}: the retriever failed for {result.failed} queries; they count 0")
    if result.acceptance is not None and result.acceptance.rate is not None:
        accepted = result.acceptance
        lines.append(
            f"{result.kind}: {accepted.judge} accepted {accepted.accepted:,} of {accepted.proposed:,} rewordings "
            f"({100 * result.acceptance.rate:.0f} %)"
        )
    return lines


def _figures(result: KindResult) -> Sequence[str]:
    drop, recall = result.drops["nDCG@10"], result.drops["recall@10"].rate
    overlap = f"{result.overlap_at_10.mean:.3f}"
    if drop.rate is None or drop.interval is None:
        return (f"{100 * drop.perturbed:.2f}", "", "", "", "", overlap)
    return (
        f"{100 * drop.perturbed:.2f}",
        f"{100 * drop.rate:+.1f}",
        f"{100 * drop.interval.low:+.1f} to {100 * drop.interval.high:+.1f}",
        f"{100 * drop.deviation:.1f}",
        f"{100 * recall:+.1f}" if recall is not None else "",
        overlap,
    )
