"""`reasonembed calibrate`: learn which way of searching each query should take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_index import task_over_index
from reasonembed_cli.eval_tables import notes, slim_table
from reasonembed_cli.hybrid import PlainOption, with_bm25
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.options import IndexOption, QueryBatchOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.showing import JsonOption, json_text
from reasonembed_cli.system_choice import SystemChoice
from reasonembed_cli.system_options import FolderOptions, RetrieverOptions, RunningOptions
from reasonembed_cli.systems import open_retriever, open_task_context

if TYPE_CHECKING:
    from rich.table import Table

    from reasonembed_rag.calibration import Calibration
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_rag.pipeline import Routes
    from reasonembed_rag.protocols import Retriever

__all__ = ["calibrate_command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CalibrateRunningOptions(RunningOptions):
    query_batch: QueryBatchOption = 8


@with_options
def calibrate_command(
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="The stages, a router among them: a TOML file.")],
    *,
    folders: FolderOptions,
    system: RetrieverOptions,
    running: _CalibrateRunningOptions,
    index: IndexOption = None,
    plain: PlainOption = False,
    cache: Annotated[Path | None, typer.Option(help="Keep document vectors here, to resume after a kill.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Learn on judged queries which arm of a pipeline's router a query should take, and write the router.

    Quality is cross-validated, and compared with sending every query to one arm; where routing is not better, the
    router sends every query to the best arm. With --index it is learnt as `reasonembed search` searches, and lies
    beside the index.

    reasonembed calibrate pipeline.toml --data my-questions --split dev
    """
    from rich.console import Console

    from reasonembed_rag.calibration import calibrate
    from reasonembed_rag.pipeline import StageContext, read_pipeline
    from reasonembed_stores import router_beside

    settings = read_pipeline(pipeline)
    path = settings.router_file(StageContext(router=None if index is None else router_beside(index)))
    check_output_file(path)
    choice = system.choice(cache=cache, index=index)
    tasks = folders.load()
    if index is not None:
        tasks = [task_over_index(task, index) for task in tasks]
    with ExitStack() as stack:

        def build(task: RetrievalTask) -> Routes:
            stack.close()  # of the task before: a file of answers is open once
            routes = settings.open_routes(stack.enter_context(open_task_context(settings, choice, task)))
            return routes(stack.enter_context(_opened(choice, task, plain=plain)))

        calibration = calibrate(
            build,
            tasks,
            options=running.run_options(),
            on_arm=lambda task, arm: typer.echo(f"{task}: {arm}", err=True),
        )
    calibration.router.save(path)
    if as_json:
        typer.echo(json_text(_record(calibration, path)))
        return
    console = Console()
    console.print(_table(calibration))
    for note in dict.fromkeys(note for report in calibration.routed for note in notes(report)):
        console.print(note, style="yellow", markup=False, highlight=False)
    typer.echo(f"{_conclusion(calibration)}\n{path}")


@contextmanager
def _opened(choice: SystemChoice, task: RetrievalTask, *, plain: bool) -> Iterator[Retriever]:
    """Open the system or, over an index, what `reasonembed search` searches."""
    if choice.index is None:
        with open_retriever(choice, task) as retriever:
            yield retriever
        return
    from reasonembed_stores import IndexModel, IndexRetriever

    settings = choice.settings
    model = IndexModel(model=choice.index_model, device=settings.device, dtype=settings.dtype, backend=settings.backend)
    index = IndexRetriever(choice.index, model)
    try:
        yield index if plain else with_bm25(index)
    finally:
        index.store.close()


def _record(calibration: Calibration, path: Path) -> dict[str, object]:
    from reasonembed_rag.files import plain_record

    arms = {
        arm: {**plain_record(comparison.mean), "share": calibration.shares[arm]}
        for arm, comparison in calibration.comparisons.items()
    }
    return {
        "router": str(path),
        "verdict": calibration.verdict,
        "best_arm": calibration.best_arm,
        "oracle": calibration.oracle,
        "arms": arms,
        "notes": list(dict.fromkeys(note for report in calibration.routed for note in notes(report))),
    }


def _table(calibration: Calibration) -> Table:
    tasks = len(calibration.routed)
    table = slim_table(
        "queries go to",
        ("nDCG@10", "routed less this", "95 % interval", "share"),
        title="nDCG@10 x 100" + (f", mean of {tasks} tasks" if tasks > 1 else ""),
        caption="routed: cross-validated; differences paired by query; share: of the queries, routed",
    )
    for arm, comparison in calibration.comparisons.items():
        mean, share = comparison.mean, calibration.shares[arm]
        interval = f"{100 * mean.interval.low:+.2f} to {100 * mean.interval.high:+.2f}"
        table.add_row(arm, f"{100 * mean.first:.2f}", f"{100 * mean.difference:+.2f}", interval, f"{100 * share:.0f} %")
    routed = calibration.comparisons[calibration.best_arm].mean.second
    table.add_section()
    table.add_row("routed", f"{100 * routed:.2f}", "", "", "")
    table.add_row("each query's best arm", f"{100 * calibration.oracle:.2f}", "", "", "")
    return table


def _conclusion(calibration: Calibration) -> str:
    best = calibration.best_arm
    if calibration.verdict == "better":
        return f"routing is better than sending every query to {best}"
    if calibration.verdict == "not better":
        return f"routing is not better than sending every query to {best}: the router does that"
    return f"routing is not shown to be better than sending every query to {best}; measure it on more queries"
