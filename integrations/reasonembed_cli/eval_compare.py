"""`reasonembed eval compare`: show one system's reports, or compare two systems with significance tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.outputs import check_output_file

__all__ = ["eval_compare_command"]


def eval_compare_command(
    first: Annotated[Path, typer.Argument(help="A report file, or a folder that eval --out wrote.")],
    second: Annotated[Path | None, typer.Argument(help="The same of another system, on the same tasks.")] = None,
    *,
    measure: Annotated[str, typer.Option(help="The measure to compare, for example recall@100.")] = "nDCG@10",
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained HTML page.")] = None,
) -> None:
    """Show a report, or compare two: differences with bootstrap intervals and a paired randomisation test.

    reasonembed eval compare bm25/ model/ --html page.html
    """
    from rich.console import Console

    from reasonembed_cli.eval_tables import comparison_table, notes, slices_table, tasks_table
    from reasonembed_rag.evaluation import compare, read_reports
    from reasonembed_rag.files import write_text
    from reasonembed_rag.pages import report_page

    if html is not None:
        check_output_file(html)
    reports = read_reports(first)
    others = read_reports(second) if second is not None else []
    page = report_page(reports, others, measure=measure) if html is not None else None
    console = Console()
    if others:
        comparison = compare(reports, others, measure=measure)
        console.print(comparison_table(comparison))
        for task in comparison.tasks:
            for note in task.notes:
                console.print(f"{task.task}: {note}", style="yellow", markup=False, highlight=False)
    else:
        console.print(tasks_table(reports))
        console.print(slices_table(reports))
    for note in dict.fromkeys(note for one in (*reports, *others) for note in notes(one)):
        console.print(note, style="yellow", markup=False, highlight=False)
    if html is not None and page is not None:
        write_text(page, html)
        console.print(f"{html}: open it in a browser")
