"""Reports and comparisons as JSON, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reasonembed_rag.files import plain_record

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Difference, Report, SystemPair, SystemsComparison

__all__ = ["results_record"]


def results_record(
    systems: Sequence[Sequence[Report]], comparison: SystemsComparison | None, *, notes: Sequence[str]
) -> dict[str, Any]:
    """Return each system's means and costs by task, and the comparison of every pair; None without one."""
    return {
        "systems": [
            {
                "name": side[0].system.label,
                "digest": side[0].system.spec.digest() if side[0].system.spec else None,
                "tasks": [_task(report) for report in side],
            }
            for side in systems
        ],
        "comparison": None
        if comparison is None
        else {
            "measure": comparison.measure,
            "level": comparison.level,
            "pairs": [_pair(pair) for pair in comparison.pairs],
        },
        "notes": list(notes),
    }


def _task(report: Report) -> dict[str, Any]:
    return {
        "task": report.task.label,
        "queries": report.task.queries,
        "mean_all": dict(report.mean_all),
        "mean_present": dict(report.mean_present),
        "intervals": plain_record(report.intervals),
        "latency": plain_record(report.latency),
        "usage": plain_record(report.usage),
        "created": report.created,
    }


def _pair(pair: SystemPair) -> dict[str, Any]:
    of = pair.comparison
    tasks = [
        {
            "task": task.label,
            **_difference(task.mean, p_value),
            "better": task.better,
            "same": len(task.queries) - task.better - task.worse,
            "worse": task.worse,
        }
        for task, p_value in zip(of.tasks, pair.task_p_values, strict=True)
    ]
    return {"first": of.first, "second": of.second, "mean": _difference(of.mean, pair.p_value), "tasks": tasks}


def _difference(mean: Difference, corrected: float) -> dict[str, Any]:
    return {**plain_record(mean), "p_value_holm": corrected}
