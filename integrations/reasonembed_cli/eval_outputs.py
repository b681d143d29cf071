"""Where `reasonembed eval` writes its reports, and what it prints of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_record import results_record
from reasonembed_cli.eval_tables import notes, scores_table, tasks_table
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.showing import json_text
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from reasonembed_rag.evaluation import Report, ResultsFolder, RetrievalTask, Run, System

__all__ = ["Outputs", "OutputsOption", "print_scores", "print_task_notes"]

OutputsOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Write a report (.json), or a folder of reports, runs and MTEB results."),
]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go: a report file, a folder, or nowhere."""

    file: Path | None = None
    folder: ResultsFolder | None = None

    @classmethod
    def of(cls, out: Path | None, *, count: int) -> Outputs:
        """Take a name that ends in .json for a file, any other for a folder.

        Raises InputError, before any work, if so many reports cannot be written there.
        """
        from reasonembed_rag.evaluation import ResultsFolder

        if out is None:
            return cls()
        if out.suffix == ".json":
            check_output_file(out)
            if count > 1:
                raise InputError(f"{out}: got one file for {count} reports; want the name of a folder")
            return cls(file=out)
        if out.exists() and not out.is_dir():
            raise InputError(f"{out}: is a file; want a folder, or a name that ends in .json")
        check_output_file(out / "report.json")
        return cls(folder=ResultsFolder(out))

    @property
    def vectors(self) -> Path | None:
        """The folder for document vectors."""
        return self.folder.path / "vectors" if self.folder else None

    def score(self, run: Run, task: RetrievalTask, system: System) -> Report:
        """Score a run and write its results."""
        from reasonembed_rag.evaluation import score_run, write_report

        report = score_run(run, task, system=system)
        if self.file is not None:
            write_report(report, self.file)
        if self.folder is not None:
            self.folder.write(report, run, task)
        return report


def print_task_notes(report: Report, console: Console) -> None:
    """Print the warnings of a task and what it cost."""
    for note in notes(report):
        console.print(note, style="yellow", markup=False, highlight=False)
    if report.costs():
        console.print(f"{report.task.name}: {report.costs()}", style="dim", markup=False, highlight=False)


def print_scores(reports: Sequence[Report], console: Console, *, as_json: bool) -> None:
    """Print the measures of one task, or the tasks with their mean; as JSON, costs and notes with them."""
    if as_json:
        told = dict.fromkeys(note for report in reports for note in notes(report))
        typer.echo(json_text(results_record([reports], None, notes=list(told))))
        return
    console.print(scores_table(reports) if len(reports) == 1 else tasks_table(reports))
