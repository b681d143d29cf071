"""`reasonembed eval compare`: show one system's reports, or compare several systems with significance tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.options import DataOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.showing import JsonOption, json_text
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Report, Results, RetrievalTask

__all__ = ["eval_compare_command"]


def eval_compare_command(
    systems: Annotated[
        list[Path], typer.Argument(help="For each system its report file, or the folder that eval run --out wrote.")
    ],
    *,
    measure: Annotated[str, typer.Option(help="The measure to compare, for example recall@100.")] = "nDCG@10",
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write a self-contained HTML page, with every query and its best hits."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a system's reports, or compare two or more: intervals and paired tests, corrected by Holm's method.

    --data is needed only for the texts of results that eval run wrote before it kept them, or as a single file.

    reasonembed eval compare bm25/ model/ hybrid/ --html page.html
    """
    from rich.console import Console

    from reasonembed_cli.eval_record import results_record
    from reasonembed_cli.eval_tables import comparison_table, notes, slices_table, tasks_table
    from reasonembed_rag.evaluation import compare_systems, read_results
    from reasonembed_rag.files import write_text
    from reasonembed_rag.pages import report_page

    if html is not None:
        check_output_file(html)
    twice = next((path for path in systems if systems.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"got {twice} twice; want each system once")
    results = _told_apart({path: read_results(path, load=None if data is None else _loader(data)) for path in systems})
    reports = [one.reports for one in results]
    comparison = compare_systems(reports, measure=measure) if len(reports) > 1 else None
    if html is not None:
        write_text(report_page(*results, measure=measure), html)
    told = _told_once({side[0].system.label: [note for one in side for note in notes(one)] for side in reports})
    if comparison is not None:
        told += [
            f"{task.label}: {pair.comparison.first} and {pair.comparison.second} differ in {note}"
            for pair in comparison.pairs
            for task in pair.comparison.tasks
            for note in task.notes
        ]
    if as_json:
        typer.echo(json_text(results_record(reports, comparison, notes=told)))
        return
    console = Console(markup=False)
    if comparison is not None:
        console.print(comparison_table(comparison))
    else:
        console.print(tasks_table(reports[0]))
        console.print(slices_table(reports[0]))
    for note in told:
        console.print(note, style="yellow", highlight=False)
    if html is not None:
        console.print(f"{html}: open it in a browser", highlight=False, soft_wrap=True)


def _told_once(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Return every note once, with the systems that it is on unless it is on all of them."""
    on: dict[str, list[str]] = {}
    for system, of_system in notes.items():
        for note in dict.fromkeys(of_system):
            on.setdefault(note, []).append(system)
    return [note if len(systems) == len(notes) else f"{', '.join(systems)}: {note}" for note, systems in on.items()]


def _told_apart(results: Mapping[Path, Results]) -> list[Results]:
    """Return the results with their folders in the names of systems that have the same one, as of one model twice."""
    names = [one.reports[0].system.label for one in results.values()]
    return [
        one.named(f"{name} in {path}") if names.count(name) > 1 else one
        for (path, one), name in zip(results.items(), names, strict=True)
    ]


def _loader(data: Path) -> Callable[[Report], RetrievalTask]:
    """Return what loads a report's task from a folder that is one task, or a copy of BRIGHT."""
    from reasonembed_rag.evaluation import load_task

    def load(report: Report) -> RetrievalTask:
        facts = report.task
        name = facts.name if (data / "examples").is_dir() else None
        return load_task(name, folder=data, split=facts.split, queries=facts.query_source, long=facts.long)

    return load
