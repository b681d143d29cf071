"""`reasonembed eval`: a system measured on judged questions, BRIGHT's or your own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_tables import notes, scores_table, tasks_table
from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.progress import progress_of, truncations_summed
from reasonembed_cli.systems import Choice, Kind, Store, Through, describe, open_retriever
from reasonembed_rag.errors import InputError, ReasonEmbedError

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Report, RetrievalTask, Run, RunOptions, System

__all__ = ["evaluate_folder", "scores_table"]


def evaluate_folder(  # noqa: PLR0913  # each is an option of the command
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of documents and examples[.split] (BRIGHT's fields), or a copy of BRIGHT."),
    ] = None,
    bright: Annotated[
        str | None, typer.Option(help="Tasks of BRIGHT from the hub: all, or names with commas between.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="Which tasks of a copy of BRIGHT, or of --bright all: names with commas between.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which examples.<split> of a folder to ask; examples without.")
    ] = None,
    queries: Annotated[str, typer.Option(help="Whose queries: original, gpt4_reason, ... (BRIGHT).")] = "original",
    long: Annotated[bool, typer.Option("--long", help="Search whole pages instead of passages (BRIGHT).")] = False,
    revision: Annotated[str | None, typer.Option(help="Another revision of BRIGHT than the pinned one.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask only the first so many queries.")] = None,
    model: ModelOption = "default",
    adapter: Annotated[str | None, typer.Option(help="A LoRA folder or hub id on top of the model.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs, for instance cuda:0.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")] = "auto",
    max_query_length: Annotated[int | None, typer.Option(help="Tokens a query; the model's own without.")] = None,
    max_document_length: Annotated[int | None, typer.Option(help="Tokens a document; the model's own without.")] = None,
    retriever: Annotated[Kind, typer.Option(help="What searches.")] = "model",
    weight: Annotated[float, typer.Option(help="The model's share in a hybrid.")] = 0.5,
    through: Annotated[Through, typer.Option(help="Ask the model through a framework's own interface.")] = "core",
    use_async: Annotated[bool, typer.Option("--async", help="Ask the framework's async methods.")] = False,
    store: Annotated[Store, typer.Option(help="The store that the framework searches.")] = "faiss",
    component: Annotated[
        str | None, typer.Option(help="Measure your own instead: module:object, a LangChain or LlamaIndex component.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Score a run instead: a TREC or score file, or a folder of <task>.* files.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Hits a query.")] = 1000,
    query_batch: Annotated[int, typer.Option(help="Queries asked at once; 1 measures latency.")] = 1,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Count a query that fails as 0 and go on; else stop at it.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the report: a .json file, or a folder for reports, runs and MTEB results."
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep documents' vectors here, to go on after a kill; <out>/vectors by default.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure again what the folder holds already.")] = False,
) -> None:
    """Measure how well a system finds the gold documents of judged questions.

    reasonembed eval --data entailmentbank --split dev --out report.json

    reasonembed eval --bright all --model BAAI/bge-large-en-v1.5 --through langchain --out bge/
    """
    from rich.console import Console

    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.evaluation import RunOptions

    outputs = _Outputs.of(out)
    wanted = list(_names(data, bright, tasks))
    outputs.check(len(wanted))
    options = RunOptions(k=k, batch_size=query_batch, keep_going=keep_going)
    choice = Choice(
        settings=EncoderSettings(
            model=model,
            adapter=adapter,
            device=device,
            dtype=dtype,
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
    )
    source = _Source(data, split, queries, long=long, revision=revision, limit=limit)
    console = Console()
    reports: list[Report] = []
    for name in wanted:
        task = source.load(name)
        measured = outputs.kept(task, choice, options) if run is None and not fresh else None
        if measured is None:
            measured = _measure(task, choice, options, outputs) if run is None else _score(run, task, options, outputs)
        else:
            console.print(f"{task.name}: measured before; --fresh measures it again")
        reports.append(measured)
        for note in notes(measured):
            console.print(note, style="yellow", markup=False, highlight=False)
        if measured.costs():
            console.print(f"{task.name}: {measured.costs()}", style="dim", markup=False, highlight=False)
    console.print(scores_table(reports) if len(reports) == 1 else tasks_table(reports))


def _names(data: Path | None, bright: str | None, tasks: str | None) -> Iterator[str | None]:
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
class _Source:
    """Where tasks come from."""

    folder: Path | None
    split: str | None
    queries: str
    long: bool
    revision: str | None
    limit: int | None

    def load(self, name: str | None) -> RetrievalTask:
        """Load a task with its warnings."""
        from reasonembed_rag.evaluation import load_task

        return load_task(
            name,
            folder=self.folder,
            split=self.split,
            queries=self.queries,
            long=self.long,
            revision=self.revision,
            limit=self.limit,
        )


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Where reports go: one file, a folder, or nowhere."""

    file: Path | None = None
    folder: Path | None = None

    @classmethod
    def of(cls, out: Path | None) -> _Outputs:
        """Tell a file from a folder by its name."""
        if out is None:
            return cls()
        return cls(file=out) if out.suffix == ".json" else cls(folder=out)

    @property
    def vectors(self) -> Path | None:
        """The folder for documents' vectors."""
        return self.folder / "vectors" if self.folder else None

    def check(self, count: int) -> None:
        """Raise InputError, before any work, where the reports cannot be written."""
        if self.file is not None:
            check_output_file(self.file)
            if count > 1:
                raise InputError(f"{self.file}: is one file for {count} reports; want the name of a folder")
        if self.folder is not None:
            if self.folder.exists() and not self.folder.is_dir():
                raise InputError(f"{self.folder}: is a file; want a folder, or a name that ends in .json")
            check_output_file(self.folder / "report.json")

    def kept(self, task: RetrievalTask, choice: Choice, options: RunOptions) -> Report | None:
        """Return the report of an earlier run of the same system on the same task; None where there is none."""
        from reasonembed_rag.evaluation import judgement_digest, read_report

        if self.folder is None or not (path := self._path(task, ".json")).is_file():
            return None
        try:
            earlier = read_report(path)
        except ReasonEmbedError:
            return None
        facts = earlier.task
        same = (
            earlier.system == describe(choice, task)
            and earlier.k == options.k
            and facts.digest == judgement_digest(task)
            and (facts.query_source, facts.long, facts.revision) == (task.queries, task.long, task.revision)
            and facts.documents == (len(task.documents) or None)
            and not any(query.problem for query in earlier.queries)
        )
        return earlier if same else None

    def write(self, report: Report, run: Run, task: RetrievalTask) -> None:
        """Write a task's report, run file and MTEB result."""
        from reasonembed_rag.evaluation import write_mteb_result, write_report, write_run

        if self.file is not None:
            write_report(report, self.file)
        if self.folder is not None:
            tag = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in report.system.name)
            write_run(run, self._path(task, ".run.gz"), tag=tag)
            write_mteb_result(report, self._path(task, ".mteb.json"))
            write_report(report, self._path(task, ".json"))

    def _path(self, task: RetrievalTask, suffix: str) -> Path:
        folder = self.folder or Path()
        return folder / f"{task.name}{f'.{task.split}' if task.split else ''}{suffix}"


def _measure(task: RetrievalTask, choice: Choice, options: RunOptions, outputs: _Outputs) -> Report:
    """Ask the system and score what it finds."""
    from reasonembed_rag.evaluation import run_retriever

    task.check_judged()
    system = describe(choice, task)
    first = "encoding" if choice.needs_model else "indexing"
    with (
        truncations_summed(task.name),
        progress_of(f"{task.name}: {first}", f"{task.name}: asking") as (encoding, asking),
        open_retriever(choice, task, tell=encoding) as retriever,
    ):
        found = run_retriever(retriever, task, options=options, progress=asking)
    return _finish(found, task, system, outputs)


def _score(path: Path, task: RetrievalTask, options: RunOptions, outputs: _Outputs) -> Report:
    """Score a run file."""
    from reasonembed_rag.evaluation import System, read_run

    if path.is_dir():
        files = sorted(file for file in path.glob(f"{task.name}.*") if ".mteb." not in file.name)
        runs = [file for file in files if file.suffix != ".json"] or files
        if len(runs) != 1:
            found = ", ".join(file.name for file in runs) or "none"
            raise InputError(f"{path}: want one run file {task.name}.*, found {found}")
        path, name = runs[0], path.name
    else:
        name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    return _finish(read_run(path, k=options.k), task, System(name=name), outputs)


def _finish(found: Run, task: RetrievalTask, system: System, outputs: _Outputs) -> Report:
    from reasonembed_rag.evaluation import score_run

    report = score_run(found, task, system=system)
    outputs.write(report, found, task)
    return report
