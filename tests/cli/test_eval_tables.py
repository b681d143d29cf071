"""Tables show every figure in full, rounded once."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from rich.console import Console

from reasonembed_cli.eval_tables import comparison_table, notes, scores_table, slices_table, tasks_table
from reasonembed_rag.evaluation import (
    MEASURES,
    Example,
    QueryResult,
    Report,
    RetrievalTask,
    Run,
    System,
    compare_systems,
    score_run,
)
from reasonembed_rag.hits import Hits
from reasonembed_rag.tasks import BRIGHT_TASKS

NAMES = (*BRIGHT_TASKS, "bright_theoremqa_questions")


def _report(name: str, system: str, *, seconds: float | None = 12.3456) -> Report:
    examples = tuple(Example(f"q{n}", "why " * (n + 1), ("gold",)) for n in range(6))
    hits = Hits(("gold", "other"), np.float32([2.0, 1.0]))
    results = tuple(QueryResult(example.id, hits, seconds) for example in examples)
    return score_run(Run(results, 100), RetrievalTask(name, "dev", (), examples), system=System(name=system))


def _shown(table: object) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("seconds", [12.3456, None])
def test_no_figure_or_heading_is_truncated_in_eighty_columns(seconds):
    first = [_report(name, "BM25", seconds=seconds) for name in NAMES]
    second = [_report(name, "sentence-transformers/a-model-of-a-long-name", seconds=seconds) for name in NAMES]
    for table, headings in (
        (tasks_table(first), ("nDCG@10", "recall@10", "recall@100", "MRR", "100.00", "100.0-100.0")),
        (scores_table(second[:1]), ("nDCG@10", "recall@10", "recall@100", "MRR", "100.0-100.0")),
        (
            comparison_table(compare_systems([first, second])),
            ("difference", "95 % interval", "+0.00 to +0.00", "1.0000"),
        ),
        (slices_table(second), ("count", "nDCG@10", "100.0")),
    ):
        text = _shown(table)
        assert "…" not in text
        for heading in headings:
            assert heading in text
    assert ("12346" in _shown(tasks_table(first))) is ("p50 ms" in _shown(tasks_table(first))) is (seconds is not None)


def test_figures_are_rounded_once():
    report = _report("biology", "x")
    queries = tuple(dataclasses.replace(q, measures=dict.fromkeys(MEASURES, 0.3168493)) for q in report.queries)
    kept = dataclasses.replace(report, queries=queries, mean_all=dict.fromkeys(MEASURES, 0.31685))
    assert f"{100 * kept.mean_all['MRR']:.2f}" == "31.69"
    assert " 31.68 " in _shown(tasks_table([kept]))
    assert "31.69" not in _shown(tasks_table([kept]))


def test_notes_count_what_failed_or_found_nothing():
    report = _report("pony", "x")
    failed = tuple(dataclasses.replace(query, problem="raised") for query in report.queries)
    nothing = tuple(dataclasses.replace(query, found=0) for query in report.queries[:2])
    assert notes(dataclasses.replace(report, queries=failed))[4:] == [
        "pony (dev), query q4: raised; it counts 0",
        "pony (dev): 1 more of its queries failed; the report names them",
    ]
    assert notes(dataclasses.replace(report, queries=nothing))[1:] == [
        "pony (dev): queries that found nothing: 2",
        "pony (dev): judged queries without a ranking, which count 0: 4",
    ]
