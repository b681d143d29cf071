"""The part of a robustness page that tells of poison: lines of ASR, attacks and defences."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reasonembed_rag.evaluation.charts import Line, line_chart
from reasonembed_rag.evaluation.html import bullets, signed, table
from reasonembed_rag.evaluation.robustness.poison_report import DefenceScore, PoisonReport

__all__ = ["attack_label", "poison_part"]

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
