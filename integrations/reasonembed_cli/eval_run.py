"""`reasonembed eval run`: measure a system on judged queries, BRIGHT's or your own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_index import task_over_index
from reasonembed_cli.eval_outputs import Outputs, OutputsOption, print_scores, print_task_notes
from reasonembed_cli.eval_tasks import EvalTaskOptions
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.options import HitsOption
from reasonembed_cli.pipelines import PipelineOption
from reasonembed_cli.progress import progress_of, truncations_summed
from reasonembed_cli.showing import JsonOption
from reasonembed_cli.system_choice import SystemChoice
from reasonembed_cli.system_options import RunningOptions, SystemOptions
from reasonembed_cli.systems import describe_system, open_retriever

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Report, RetrievalTask, RunOptions

__all__ = ["eval_run_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _EvalSystemOptions(SystemOptions):
    """A system, with stages around it and other lengths than the model's own."""

    max_query_length: Annotated[
        int | None, typer.Option(help="Tokens per query; the model's own limit by default.")
    ] = None
    max_document_length: Annotated[
        int | None, typer.Option(help="Tokens per document; the model's own limit by default.")
    ] = None
    use_async: Annotated[bool, typer.Option("--async", help="Call the framework's async methods.")] = False
    pipeline: PipelineOption = None

    def staged(self, *, cache: Path | None) -> SystemChoice:
        """Return the system."""
        from reasonembed_rag.pipeline import read_pipeline

        system = self.system(cache=cache)
        return replace(
            system,
            settings=replace(
                system.settings,
                max_query_length=self.max_query_length,
                max_document_length=self.max_document_length,
            ),
            use_async=self.use_async,
            pipeline=None if self.pipeline is None else read_pipeline(self.pipeline),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _EvalRunningOptions(RunningOptions):
    k: HitsOption = 1000


@with_options
def eval_run_command(
    *,
    tasks: EvalTaskOptions,
    system: _EvalSystemOptions,
    running: _EvalRunningOptions,
    out: OutputsOption = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep document vectors here, to resume after a kill; OUT/vectors by default."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what OUT already has a report of.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how well a system finds the gold documents of judged queries.

    reasonembed eval run --data entailmentbank --split dev --out report.json

    reasonembed eval run --bright all --model BAAI/bge-large-en-v1.5 --through langchain --out bge/

    reasonembed eval run --index docs.index --data my-questions
    """
    from rich.console import Console

    outputs = Outputs.of(out, count=len(tasks.names()))
    options = running.run_options()
    choice = system.staged(cache=cache or outputs.vectors)
    console = Console(quiet=as_json)
    reports: list[Report] = []
    for read in tasks.load():
        task = read if system.index is None else task_over_index(read, system.index)
        report = None if fresh else _earlier(task, choice, options, outputs)
        if report is not None:
            console.print(f"{task.name}: measured before; --fresh measures it again")
        reports.append(report or _measure(task, choice, options, outputs))
        print_task_notes(reports[-1], console)
    print_scores(reports, console, as_json=as_json)


def _earlier(task: RetrievalTask, choice: SystemChoice, options: RunOptions, outputs: Outputs) -> Report | None:
    """Return the report of an earlier run of the same system on the same task; None for an index, which may change."""
    if choice.index is not None or outputs.folder is None:
        return None
    report = outputs.folder.earlier(task, k=options.k)
    return report if report is not None and report.system == describe_system(choice, task) else None


def _measure(task: RetrievalTask, choice: SystemChoice, options: RunOptions, outputs: Outputs) -> Report:
    """Run the system on a task and score its rankings."""
    from reasonembed_rag.evaluation import run_retriever

    task.check_judged()
    system = describe_system(choice, task)
    first = "encoding" if choice.needs_model else "indexing"
    with (
        truncations_summed(task.name),
        progress_of(f"{task.name}: {first}", f"{task.name}: searching") as (encoding, searching),
        open_retriever(choice, task, on_progress=encoding) as retriever,
    ):
        run = run_retriever(retriever, task, options=options, progress=searching)
    return outputs.score(run, task, system)
