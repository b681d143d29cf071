"""`reasonembed eval score`: score rankings that another program wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.eval_outputs import Outputs, OutputsOption, print_scores, print_task_notes
from reasonembed_cli.eval_tasks import EvalTaskOptions
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.options import HitsOption
from reasonembed_cli.showing import JsonOption

__all__ = ["eval_score_command"]


@with_options
def eval_score_command(
    run: Annotated[Path, typer.Argument(help="A run: a TREC or score file, or a folder of <task>.* files.")],
    *,
    tasks: EvalTaskOptions,
    k: HitsOption = 1000,
    out: OutputsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a run file on judged queries: the rankings of any system.

    reasonembed eval score bm25.trec --data my-task --split dev --out scored/

    reasonembed eval score runs/ --data copy-of-BRIGHT --tasks all
    """
    from rich.console import Console

    from reasonembed_rag.evaluation import System, find_run, read_run

    outputs = Outputs.of(out, count=len(tasks.names()))
    name = run.name if run.is_dir() else run.name.removesuffix(".gz").rsplit(".", 1)[0]
    console = Console(quiet=as_json)
    reports = []
    for task in tasks.load():
        path = find_run(run, task.name) if run.is_dir() else run
        reports.append(outputs.score(read_run(path, k=k), task, System(name=name)))
        print_task_notes(reports[-1], console)
    print_scores(reports, console, as_json=as_json)
