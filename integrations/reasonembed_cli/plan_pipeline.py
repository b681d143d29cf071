"""`reasonembed plan-pipeline`: stages to begin with, by corpus, time and chat model, with what is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasonembed_cli.chat_models import missing_for_chat
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.plan_options import ChatOptions, CorpusOptions, PlanOptions
from reasonembed_cli.showing import JsonOption, json_text
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.pipeline import PipelinePlan

__all__ = ["plan_pipeline_command"]


@with_options
def plan_pipeline_command(
    to: Annotated[Path, typer.Argument(metavar="[PIPELINE]", help="The file that is written.")] = Path("pipeline.toml"),
    *,
    corpus: CorpusOptions,
    asked: PlanOptions,
    chat: ChatOptions,
    as_json: JsonOption = False,
) -> None:
    """Propose a pipeline, with published and measured figures for each stage, and write its file.

    search, eval and ablate take the file as it is. What is known to harm a kind of questions is not proposed for it.

    reasonembed plan-pipeline --index docs.index --latency 2000
    """
    from reasonembed_rag.pipeline import PlanRequest, plan_pipeline, planned_toml, routed_toml

    routed_path = to.with_name(f"{to.stem}.routed{to.suffix}")
    for path in (to, routed_path):
        if path.exists():
            raise InputError(f"{path} exists already; name another file, or remove it")
    check_output_file(to)
    fields = chat.fields() | asked.fields()
    PlanRequest(documents=1, retriever_seconds=1e-9, **fields)  # refused before the index is opened
    size, seconds = corpus.measure()
    plan = plan_pipeline(PlanRequest(documents=size, retriever_seconds=seconds, **fields))
    files = {to: planned_toml(plan), routed_path: routed_toml(plan)}
    written = [path for path, text in files.items() if _write(path, text)]
    if as_json:
        typer.echo(json_text(_record(plan, written)))
        return
    for line in _lines(plan, written, index=corpus.index):
        typer.echo(line)


def _write(path: Path, text: str | None) -> bool:
    from reasonembed_rag.files import write_text

    if text is not None:
        write_text(text, path)
    return text is not None


def _record(plan: PipelinePlan, written: Sequence[Path]) -> dict[str, Any]:
    from reasonembed_rag.files import plain_record

    figures = {"seconds": plan.seconds, "retriever_seconds": plan.request.retriever, "cost": plan.cost_of_thousand}
    return {**plain_record(plan), **figures, "files": [str(path) for path in written]}


def _lines(plan: PipelinePlan, written: Sequence[Path], *, index: Path | None) -> Iterator[str]:
    request = plan.request
    measured = "measured" if index else "estimated" if request.retriever_seconds is None else "as you say"
    yield f"{request.documents:,} documents; the retriever takes {1000 * request.retriever:.1f} ms a query, {measured}"
    yield "vectors and words, .25 of BM25: " + (
        "search does so" if index else "eval run --retriever hybrid --weight .75"
    )
    yield from (f"    {one}" for one in plan.bm25)
    for number, stage in enumerate(plan.stages, start=1):
        yield f"{number}. {stage.table['kind']}: {stage.reason}; about {stage.seconds:.1f} s"
        yield from (f"    {one}" for one in stage.evidence)
    if not plan.stages:
        yield "no stage: nothing fits that is known to help; search without a pipeline"
    yield "not proposed:"
    for one in plan.left_out:
        yield f"  {one.kind}: {one.reason}"
        yield from (f"    {figure}" for figure in one.evidence)
    if request.chat is not None:
        rate = f"{request.tokens_per_second:g} tokens a second, and reads 20 times as fast"
        yield f"estimates: {request.chat.name} writes {rate}; name its speed with --tokens-per-second"
        read, written_once = plan.enrichment_tokens
        price = request.chat.cost(input_tokens=read, output_tokens=written_once)
        once = f"{(read + written_once) / 1e6:,.1f} million tokens" + ("" if price is None else f", {price:,.2f}")
        yield f"index --enrich would cost {once} once; whether it helps is not measured"
        if missing := missing_for_chat(request.chat):
            yield f"to ask it: {missing}"
    cost = plan.cost_of_thousand
    money = "" if cost is None else f", {cost:,.2f} for 1,000 queries"
    yield f"a query takes about {plan.seconds:.1f} s by estimate{money}; ablate measures it on judged questions"
    for path in written:
        command = "calibrate" if path.stem.endswith(".routed") else "ablate"
        yield f"{path}: reasonembed {command} {path} --data FOLDER"
    if index is not None and written and plan.stages:
        yield f'search with: reasonembed search {index} "your question" --pipeline {written[0]}'
