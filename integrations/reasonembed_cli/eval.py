"""`reasonembed eval`: measure a system on judged queries, BRIGHT's or your own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_index import task_over_index
from reasonembed_cli.eval_tables import notes, scores_table, tasks_table
from reasonembed_cli.options import (
    AdapterOption,
    BackendOption,
    ComponentOption,
    DataOption,
    DeviceOption,
    DtypeOption,
    HitsOption,
    IndexOption,
    KeepGoingOption,
    LimitOption,
    QueryBatchOption,
    RetrieverOption,
    SplitOption,
    StoreOption,
    SystemModelOption,
    ThroughOption,
    WeightOption,
)
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.pipelines import PipelineOption
from reasonembed_cli.progress import progress_of, truncations_summed
from reasonembed_cli.systems import SystemChoice, describe_system, open_retriever
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Report, ResultsFolder, RetrievalTask, Run, RunOptions, System

__all__ = ["eval_command"]


def eval_command(  # noqa: PLR0913  # each is an option of the command
    *,
    data: DataOption = None,
    bright: Annotated[
        str | None, typer.Option(help="Tasks of BRIGHT from Hugging Face: all, or comma-separated names.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Tasks of a copy of BRIGHT, or of --bright all: comma-separated names.")
    ] = None,
    split: SplitOption = None,
    queries: Annotated[
        str, typer.Option(help="BRIGHT's query variant: original, gpt4_reason and others.")
    ] = "original",
    long: Annotated[bool, typer.Option("--long", help="Search whole pages instead of passages (BRIGHT).")] = False,
    revision: Annotated[str | None, typer.Option(help="Another revision of BRIGHT than the pinned one.")] = None,
    limit: LimitOption = None,
    model: SystemModelOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    backend: BackendOption = "auto",
    max_query_length: Annotated[
        int | None, typer.Option(help="Tokens per query; the model's own limit by default.")
    ] = None,
    max_document_length: Annotated[
        int | None, typer.Option(help="Tokens per document; the model's own limit by default.")
    ] = None,
    retriever: RetrieverOption = "model",
    weight: WeightOption = 0.5,
    through: ThroughOption = "core",
    use_async: Annotated[bool, typer.Option("--async", help="Call the framework's async methods.")] = False,
    store: StoreOption = "faiss",
    component: ComponentOption = None,
    index: IndexOption = None,
    pipeline: PipelineOption = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Score a run instead: a TREC or score file, or a folder of <task>.* files."),
    ] = None,
    k: HitsOption = 1000,
    query_batch: QueryBatchOption = 1,
    keep_going: KeepGoingOption = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a report (.json), or a folder of reports, runs and MTEB results."),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Keep document vectors here, to resume after a kill; OUT/vectors by default."),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what OUT already has a report of.")] = False,
) -> None:
    """Measure how well a system finds the gold documents of judged queries.

    reasonembed eval --data entailmentbank --split dev --out report.json

    reasonembed eval --bright all --model BAAI/bge-large-en-v1.5 --through langchain --out bge/

    reasonembed eval --index docs.index --data my-questions
    """
    from rich.console import Console

    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.evaluation import RunOptions, load_task
    from reasonembed_rag.pipeline import read_pipeline

    if run is not None and pipeline is not None:
        raise InputError(f"got --run {run} and --pipeline {pipeline}; a run file is scored as it is: leave one out")
    if run is not None and index is not None:
        raise InputError(f"got --run {run} and --index {index}; a run file is scored without an index: leave one out")
    outputs = _Outputs.of(out)
    names = list(_task_names(data, bright, tasks))
    outputs.check(len(names))
    options = RunOptions(k=k, batch_size=query_batch, keep_going=keep_going)
    choice = SystemChoice(
        settings=EncoderSettings(
            model=model or "default",
            adapter=adapter,
            device=device,
            dtype=dtype,
            backend=backend,
            max_query_length=max_query_length,
            max_document_length=max_document_length,
        ),
        kind=retriever,
        weight=weight,
        through=through,
        use_async=use_async,
        store=store,
        component=component,
        cache=cache or outputs.vectors,
        index=index,
        index_model=model if index is not None else None,
        pipeline=None if pipeline is None else read_pipeline(pipeline),
    )
    console = Console()
    reports: list[Report] = []
    for name in names:
        task = load_task(name, folder=data, split=split, queries=queries, long=long, revision=revision, limit=limit)
        if index is not None:
            task = task_over_index(task, index)
        if run is not None:
            report = _score(run, task, options, outputs)
        elif index is None and not fresh and (earlier := _earlier(task, choice, options, outputs)) is not None:
            report = earlier
            console.print(f"{task.name}: measured before; --fresh measures it again")
        else:
            report = _measure(task, choice, options, outputs)
        reports.append(report)
        for note in notes(report):
            console.print(note, style="yellow", markup=False, highlight=False)
        if report.costs():
            console.print(f"{task.name}: {report.costs()}", style="dim", markup=False, highlight=False)
    console.print(scores_table(reports) if len(reports) == 1 else tasks_table(reports))


def _task_names(data: Path | None, bright: str | None, tasks: str | None) -> Iterator[str | None]:
    """Yield the names of the tasks to measure; None for a folder that is one task."""
    from reasonembed_rag.tasks import BRIGHT_TASKS, get_task

    if (data is None) == (bright is None):
        raise InputError("want either --data FOLDER or --bright all (or names of its tasks)")
    if tasks is not None and bright not in {None, "all"}:
        raise InputError(f"got --bright {bright} and --tasks {tasks}; name the tasks once")
    chosen = [name.strip() for name in (tasks or bright or "").split(",") if name.strip()]
    if bright is not None or chosen:
        every = chosen == ["all"] or not chosen
        yield from (BRIGHT_TASKS if every else [get_task(name.replace("-", "_")).name for name in chosen])
    else:
        yield None


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Where results go: a report file, a folder, or nowhere."""

    file: Path | None = None
    folder: ResultsFolder | None = None

    @classmethod
    def of(cls, out: Path | None) -> _Outputs:
        """Take a name that ends in .json for a file, any other for a folder."""
        from reasonembed_rag.evaluation import ResultsFolder

        if out is None:
            return cls()
        return cls(file=out) if out.suffix == ".json" else cls(folder=ResultsFolder(out))

    @property
    def vectors(self) -> Path | None:
        """The folder for document vectors."""
        return self.folder.path / "vectors" if self.folder else None

    def check(self, count: int) -> None:
        """Raise InputError, before any work, if so many reports cannot be written."""
        if self.file is not None:
            check_output_file(self.file)
            if count > 1:
                raise InputError(f"{self.file}: got one file for {count} reports; want the name of a folder")
        if self.folder is not None:
            path = self.folder.path
            if path.exists() and not path.is_dir():
                raise InputError(f"{path}: is a file; want a folder, or a name that ends in .json")
            check_output_file(path / "report.json")

    def write(self, report: Report, run: Run, task: RetrievalTask) -> None:
        """Write a task's results."""
        from reasonembed_rag.evaluation import write_report

        if self.file is not None:
            write_report(report, self.file)
        if self.folder is not None:
            self.folder.write(report, run, task)


def _earlier(task: RetrievalTask, choice: SystemChoice, options: RunOptions, outputs: _Outputs) -> Report | None:
    """Return the report of an earlier run of the same system on the same task; None if there is none."""
    report = outputs.folder.earlier(task, k=options.k) if outputs.folder is not None else None
    return report if report is not None and report.system == describe_system(choice, task) else None


def _measure(task: RetrievalTask, choice: SystemChoice, options: RunOptions, outputs: _Outputs) -> Report:
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
    return _score_and_write(run, task, system, outputs)


def _score(path: Path, task: RetrievalTask, options: RunOptions, outputs: _Outputs) -> Report:
    """Score a run file."""
    from reasonembed_rag.evaluation import System, find_run, read_run

    if path.is_dir():
        path, name = find_run(path, task.name), path.name
    else:
        name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return _score_and_write(read_run(path, k=options.k), task, System(name=name), outputs)


def _score_and_write(run: Run, task: RetrievalTask, system: System, outputs: _Outputs) -> Report:
    from reasonembed_rag.evaluation import score_run

    report = score_run(run, task, system=system)
    outputs.write(report, run, task)
    return report
