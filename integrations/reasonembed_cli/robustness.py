"""`reasonembed robustness`: measure what a retriever loses to typos, rewordings and poison."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_cli.eval_index import task_over_index
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.options import DataOption, LimitOption, SplitOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.robustness_options import PerturbationOptions, PoisonOptions
from reasonembed_cli.robustness_steps import Attack, measure_robustness, show_robustness
from reasonembed_cli.showing import JsonOption
from reasonembed_cli.system_options import RunningOptions, SystemOptions

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RetrievalTask

__all__ = ["robustness_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TaskOptions:
    """The task: a folder, one of a copy of BRIGHT, or one of BRIGHT's on Hugging Face."""

    panel: ClassVar[str] = "Task"
    data: DataOption = None
    task: Annotated[str | None, typer.Option(help="The task, of a copy of BRIGHT or of BRIGHT on Hugging Face.")] = None
    split: SplitOption = None
    limit: LimitOption = None

    def load(self) -> RetrievalTask:
        from reasonembed_rag.evaluation import load_task

        return load_task(self.task, folder=self.data, split=self.split, limit=self.limit)


@with_options
def robustness_command(  # noqa: PLR0913 - groups of options, and what it prints and writes
    *,
    task: _TaskOptions,
    system: SystemOptions,
    perturbations: PerturbationOptions,
    attacks: PoisonOptions,
    running: RunningOptions,
    geometry: Annotated[bool, typer.Option(help="Measure the geometry of the model's vectors.")] = True,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another system's report, to compare with and to plot together.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the report, the variants and the page.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how much quality a retriever loses to typos, reordering, synonyms, keyword queries and poison.

    reasonembed robustness --data entailmentbank --split dev --kinds all --poison 10 --out robust/
    """
    from rich.console import Console

    from reasonembed_rag.robustness import read_robustness

    if out is not None:
        check_output_file(out / "report.json")
    others = [read_robustness(path) for path in beside or ()]
    options = perturbations.open(running.run_options())
    loaded = task.load() if system.index is None else task_over_index(task.load(), system.index)
    known = None
    if attacks.poison and attacks.poison_split:
        known = replace(task, split=attacks.poison_split, limit=None).load().examples
    attack = Attack(passages=attacks.poison, steps=attacks.poison_steps, others=known)
    with ExitStack() as stack:
        cache = out / "vectors" if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        choice = system.system(cache=cache)
        attack.check(choice)
        report = measure_robustness(choice, loaded, options, attack=attack, geometry=geometry, out=out)
    show_robustness([report, *others], out, Console(quiet=as_json))
    if as_json:
        typer.echo(report.to_json())
