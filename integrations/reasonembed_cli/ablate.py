"""`reasonembed ablate`: which stages of a pipeline help on judged queries, and what each costs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_tables import notes, slim_table
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.showing import json_text
from reasonembed_cli.system_options import FolderOptions, RetrieverOptions, RunningOptions
from reasonembed_cli.systems import open_retriever, open_task_context
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from reasonembed_rag.ablation import Ablation
    from reasonembed_rag.evaluation import Difference, RetrievalTask
    from reasonembed_rag.pipeline import Pipeline

__all__ = ["ablate_command"]


@with_options
def ablate_command(
    pipeline: Annotated[Path, typer.Argument(metavar="PIPELINE", help="The stages: a TOML file.")],
    *,
    folders: FolderOptions,
    system: RetrieverOptions,
    running: RunningOptions,
    cache: Annotated[Path | None, typer.Option(help="Keep document vectors here, to resume after a kill.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained HTML page.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON, query by query, and nothing else on stdout.")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json-file", hidden=True)] = None,
) -> None:
    """Measure a pipeline, the pipeline without each stage, each stage alone, and the bare retriever.

    reasonembed ablate pipeline.toml --data entailmentbank:dev --data strategyqa:dev --html ablation.html
    """
    from rich.console import Console

    from reasonembed_rag.ablation import ablate
    from reasonembed_rag.files import plain_record
    from reasonembed_rag.pipeline import Pipeline, read_pipeline

    for path in (html, json_file):
        if path is not None:
            check_output_file(path)
    files = [path.resolve() for path in (pipeline, html, json_file) if path is not None]
    if len(set(files)) < len(files):
        raise InputError("PIPELINE, --html and the file of figures are two names of one file; want a file for each")
    settings = read_pipeline(pipeline)
    choice = system.choice(cache=cache)
    tasks = folders.load()
    console = Console()
    with ExitStack() as stack:

        def build(task: RetrievalTask) -> Pipeline:
            stack.close()  # of the task before: a file of answers is open once
            context = stack.enter_context(open_task_context(settings, choice, task))
            stages = settings.open(context)  # before documents are encoded
            return Pipeline(stack.enter_context(open_retriever(choice, task)), stages)

        ablation = ablate(
            build,
            tasks,
            options=running.run_options(),
            on_variant=lambda task, variant: typer.echo(f"{task}: {variant}", err=True),
        )
    _write(ablation, html=html, json_file=json_file)
    if as_json:
        typer.echo(json_text(plain_record(ablation)))
        return
    console.print(_variants_table(ablation))
    console.print(_effects_table(ablation))
    for note in dict.fromkeys(note for report in ablation.variants[0].reports for note in notes(report)):
        console.print(note, style="yellow", markup=False, highlight=False)
    if html is not None:
        console.print(f"{html}: open it in a browser", markup=False, highlight=False, soft_wrap=True)


def _write(ablation: Ablation, *, html: Path | None, json_file: Path | None) -> None:
    import json

    from reasonembed_rag.files import plain_record, write_text
    from reasonembed_rag.pages import ablation_page

    if html is not None:
        write_text(ablation_page(ablation), html)
    if json_file is not None:
        write_text(json.dumps(plain_record(ablation), indent=1, ensure_ascii=False), json_file)


_UNTIMED: tuple[float | None, float | None] = (None, None)


def _variants_table(ablation: Ablation) -> Table:
    """Return a table with a section for each task and for their mean; equal variants are shown once."""
    full = ablation.variants[0]
    paid = full.llm_cost() is not None
    figures = ("nDCG@10", "p50 ms", "p95 ms", "calls", "tokens", *(["cost"] if paid else []))
    caption = "calls and tokens: of chat models" + ("; cost: by the prices in their settings" if paid else "")
    table = slim_table("variant", figures, title="nDCG@10 x 100", caption=caption)
    variants = list(({variant.stages: variant for variant in ablation.variants} | {full.stages: full}).values())
    tasks = [report.task.label for report in variants[0].reports]
    for number, task in enumerate(tasks):
        table.add_row(f"{task}:")
        for variant in variants:
            one = variant.tasks[number]
            times: tuple[float | None, float | None]
            latency, calls = one.report.latency, sum(cost.llm_calls or 0 for cost in one.costs)
            times = (latency.p50, latency.p95) if latency is not None else _UNTIMED
            tokens = sum(cost.llm_tokens or 0 for cost in one.costs)
            cells = _cells(one.report.mean("nDCG@10"), times, calls, tokens)
            table.add_row(f"  {variant.name}", *cells, *(_money(one.llm_cost) if paid else ()))
        table.add_section()
    if len(tasks) > 1:
        table.add_row("mean of tasks; costs of all:")
        for variant in variants:
            times = (variant.latency("p50"), variant.latency("p95"))
            cells = _cells(variant.mean, times, variant.llm_calls(), variant.llm_tokens())
            table.add_row(f"  {variant.name}", *cells, *(_money(variant.llm_cost()) if paid else ()))
    return table


def _money(cost: float | None) -> list[str]:
    return [f"{cost or 0:.4f}"]


def _cells(score: float, seconds: tuple[float | None, float | None], calls: int, tokens: int) -> list[str]:
    times = ["" if one is None else f"{1000 * one:.1f}" for one in seconds]
    return [f"{100 * score:.2f}", *times, f"{calls:,}", f"{tokens:,}"]


def _effects_table(ablation: Ablation) -> Table:
    caption = "nDCG@10 x 100, 95 % interval paired by query; verdict, queries up and down: within the pipeline"
    table = slim_table("stage", ("within", "alone", "verdict"), title="What each stage gains", caption=caption)
    for effect in ablation.effects:
        several = len(effect.gains) > 1
        if several:
            table.add_row(f"{effect.stage}:")
        for gain in effect.gains:
            name = f"  {gain.task or 'mean of tasks'}" if several else effect.stage
            said = f"{gain.verdict}\n{gain.better:,} up, {gain.worse:,} down"
            table.add_row(name, _difference(gain.within), _difference(gain.alone), said)
        table.add_section()
    return table


def _difference(of: Difference) -> str:
    return f"{100 * of.difference:+.2f}\n{100 * of.interval.low:+.2f} to {100 * of.interval.high:+.2f}"
