"""ReMixer's plans and measurements as tables and lines for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from reasonembed_training.remixer import JudgeAgreement, Plan, Quality

__all__ = ["agreement_table", "plan_table", "plan_text", "quality_lines"]


def plan_table(plan: Plan) -> Table:
    """Return a table of the calls, tokens and cost of each stage."""
    from rich.table import Table

    table = Table(title=f"{plan.sources:,} queries by the card {plan.card}, at most")
    for name in ("stage", "model"):
        table.add_column(name)
    for name in ("calls", "answered", "tokens in", "tokens out", "cost"):
        table.add_column(name, justify="right")
    for stage in plan.stages:
        cost = "?" if stage.cost is None else f"{stage.cost:,.2f}"
        tokens = (f"{'' if stage.measured else '~'}{count:,}" for count in (stage.input_tokens, stage.output_tokens))
        table.add_row(stage.stage, stage.model or "-", f"{stage.calls:,}", f"{stage.answered:,}", *tokens, cost)
    table.add_section()
    table.add_row(
        "total",
        "",
        f"{sum(stage.calls for stage in plan.stages):,}",
        f"{sum(stage.answered for stage in plan.stages):,}",
        f"~{sum(stage.input_tokens for stage in plan.stages):,}",
        f"~{sum(stage.output_tokens for stage in plan.stages):,}",
        "?" if plan.cost is None else f"{plan.cost:,.2f}",
    )
    return table


def plan_text(plan: Plan) -> str:
    """Return the remarks on the table."""
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in plan.left_out.items()) or "none"
    lines = [
        f"{plan.documents:,} documents can be candidates, {plan.eligible:,} of them sources; left out: {left_out}.",
        "Calls are counted as if every document were relevant and every answer could be parsed.",
        "Tokens and cost are of the calls not yet answered; ~ marks estimates from lengths.",
    ]
    if plan.cost is None:
        lines.append(
            "Costs need prices per million tokens: --set model.input_price=... --set model.output_price=... "
            "(models.STAGE.input_price for one stage)."
        )
    for stage in plan.stages:
        if stage.minutes is not None and stage.minutes >= 1:
            lines.append(
                f"{stage.stage} takes at least {stage.minutes:,.0f} minutes by the rate limits of {stage.model}."
            )
        if stage.over_context:
            lines.append(
                f"{stage.over_context:,} documents exceed the context of {stage.model} in {stage.stage} and will be "
                "dropped; raise model.context if the model has more."
            )
    return "\n".join(lines)


def quality_lines(quality: Quality) -> list[str]:
    """Return the main figures of a run's rows."""
    overlap = quality.overlap
    shares = f"{overlap.source:.0%}, in its positives {overlap.positive:.0%}, in its negatives {overlap.negative:.0%}"
    return [
        f"{quality.rows:,} rows, {quality.positives_per_row:.1f} positives and {quality.negatives:.1f} negatives each",
        f"share of a query's words that are in its source {shares}",
        f"the source would have been the first hit for {quality.source_first:.0%} of the queries",
    ]


def agreement_table(measured: JudgeAgreement) -> Table:
    """Return a table of the agreement of two judges."""
    from rich.table import Table

    table = Table(
        title=f"{measured.pairs:,} pairs graded by both; {measured.only_first:,} and {measured.only_second:,} by one"
    )
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_row("kappa, positive or not", f"{measured.kappa:.3f}")
    table.add_row("kappa of grades, quadratic weights", f"{measured.weighted_kappa:.3f}")
    table.add_row("precision of the second's positives", f"{measured.precision:.3f}")
    table.add_row("recall of the first's positives", f"{measured.recall:.3f}")
    table.add_row("F1", f"{measured.f1:.3f}")
    return table
