"""What systems cost, as the rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reasonembed_rag.evaluation import Report
from reasonembed_rag.protocols import Usage

__all__ = ["CostTable", "cost_table"]

_COLUMNS = {
    "p50 ms": "{:,.1f}",
    "p95 ms": "{:,.1f}",
    "encoding s": "{:,.1f}",
    "document tokens": "{:,}",
    "query tokens": "{:,}",
    "index MB": "{:,.1f}",
    "LLM calls": "{:,}",
    "LLM tokens": "{:,}",
    "LLM cost": "{:,.4f}",
}


@dataclass(frozen=True, slots=True)
class CostTable:
    """Each report's costs; None where one was not measured. Columns that nobody measured are only named."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str | None, ...]], ...]
    """System, task and costs."""
    not_measured: tuple[str, ...]


def cost_table(sides: Sequence[Sequence[Report]]) -> CostTable:
    """Return the costs of every system on every task."""
    found = [(report.system.label, report.task.label, _costs(report)) for side in sides for report in side]
    known = tuple(name for name in _COLUMNS if any(costs[name] is not None for _, _, costs in found))
    return CostTable(
        known,
        tuple((system, task, tuple(costs[name] for name in known)) for system, task, costs in found),
        tuple(name for name in _COLUMNS if name not in known),
    )


def _costs(report: Report) -> dict[str, str | None]:
    used, latency = report.usage or Usage(), report.latency
    values = (
        latency and 1000 * latency.p50,
        latency and 1000 * latency.p95,
        used.encoding_seconds,
        used.document_tokens,
        used.query_tokens,
        None if used.index_bytes is None else used.index_bytes / 1e6,
        used.llm_calls,
        used.llm_tokens,
        used.llm_cost,
    )
    return {
        name: None if value is None else form.format(value)
        for (name, form), value in zip(_COLUMNS.items(), values, strict=True)
    }
