"""Reports in the JSON layout of MTEB's result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reasonembed_rag.evaluation.metrics import CUTOFFS
from reasonembed_rag.evaluation.mteb_names import mteb_task_name
from reasonembed_rag.evaluation.report import Report
from reasonembed_rag.evaluation.writing import write_text

__all__ = ["mteb_result", "write_mteb_result"]

_NAMES = {"nDCG": "ndcg", "MAP": "map", "recall": "recall", "P": "precision"}


def mteb_result(report: Report) -> dict[str, Any]:
    """Return a report as MTEB's TaskResult holds it: the main score is nDCG@10, recall@1 for long documents.

    Measures are means over every judged query. Tasks outside BRIGHT keep their own names. mteb_version stays empty: the
    scores are this project's, computed as BRIGHT's official harness computes them.
    """
    means = report.mean_all
    scores = {f"{theirs}_at_{k}": means[f"{ours}@{k}"] for ours, theirs in _NAMES.items() for k in CUTOFFS}
    usage, latency = report.usage, report.latency
    seconds = (usage.encoding_seconds or 0.0) if usage else 0.0
    seconds += latency.p50 * report.task.queries if latency else 0.0
    return {
        "dataset_revision": report.task.revision or "local",
        "task_name": mteb_task_name(report.task.name, long=report.task.long) or report.task.name,
        "mteb_version": None,
        "scores": {
            _split(report): [
                {
                    **scores,
                    f"mrr_at_{report.k}": means["MRR"],
                    "main_score": means["recall@1" if report.task.long else "nDCG@10"],
                    "hf_subset": "default",
                    "languages": ["eng-Latn"],
                }
            ]
        },
        "evaluation_time": seconds or None,
        "kg_co2_emissions": None,
    }


def write_mteb_result(report: Report, path: Path) -> None:
    """Write a report in MTEB's layout, whole or not at all; raises InputError where it cannot be written."""
    write_text(f"{json.dumps(mteb_result(report), indent=2)}\n", path)


def _split(report: Report) -> str:
    """Return the split's name: MTEB calls BRIGHT's standard and long."""
    if mteb_task_name(report.task.name) is not None:
        return "long" if report.task.long else "standard"
    return report.task.split or "test"
