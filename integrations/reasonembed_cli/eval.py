"""`reasonembed eval`: a model measured on a folder of judged questions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.progress import progress_of

if TYPE_CHECKING:
    from rich.table import Table

    from reasonembed_rag.evaluation.report import Report

__all__ = ["evaluate_folder", "scores_table"]

_SHOWN = ("nDCG@10", "recall@10", "recall@100", "MRR")


def evaluate_folder(
    *,
    data: Annotated[
        Path, typer.Option(help="A folder of documents.jsonl and examples[.split].jsonl (BRIGHT's fields).")
    ],
    split: Annotated[
        str | None, typer.Option(help="Which examples.<split>.jsonl to ask; examples.jsonl without.")
    ] = None,
    model: ModelOption = "default",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the report, per query and mean, as JSON.")
    ] = None,
) -> None:
    """Measure how well a model finds the gold documents of a task's questions.

    reasonembed eval --data entailmentbank --split dev --out report.json
    """
    from rich.console import Console

    from reasonembed_rag.evaluation.report import write_report
    from reasonembed_rag.evaluation.run import evaluate_embedder
    from reasonembed_rag.evaluation.task import read_task_folder

    if out is not None:
        check_output_file(out)
    task = read_task_folder(data, split=split)

    from reasonembed_rag import Encoder

    encoder = Encoder.from_pretrained(model)
    with progress_of("Encoding", "Asking") as (encoding, asking):
        report = evaluate_embedder(encoder, task, encoding_progress=encoding, progress=asking)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_report(report, out)
    Console().print(scores_table([report]))


def scores_table(reports: list[Report]) -> Table:
    """Return a table of the main measures, one row a report; all are of one task."""
    from rich.table import Table

    facts = reports[0].task
    name = f"{facts.name} ({facts.split})" if facts.split else facts.name
    table = Table("system", title=f"{name}: {facts.queries} queries, {facts.documents:,} documents; measures x 100")
    for measure in _SHOWN:
        table.add_column(measure, justify="right")
    for report in reports:
        table.add_row(
            report.system.name, *(f"{100 * report.mean_all.get(measure, math.nan):.1f}" for measure in _SHOWN)
        )
    return table
