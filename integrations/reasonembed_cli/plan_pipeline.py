"""`reasonembed plan-pipeline`: stages to begin with, by corpus, time and chat model, with what is known of each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasonembed_cli.chat_models import missing_for_chat
from reasonembed_cli.hybrid import with_bm25
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.showing import JsonOption, json_text
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.llm import ChatModelSettings
    from reasonembed_rag.pipeline import PipelinePlan

__all__ = ["plan_pipeline_command"]

_QUERIES, _WORDS = 16, 20
"""Queries that the retriever is measured with: the first words of so many documents."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CHAT = "A chat model"
_TIME = "Time"


def plan_pipeline_command(  # noqa: PLR0913 - each is an option of the command
    to: Annotated[Path, typer.Argument(metavar="[PIPELINE]", help="The file that is written.")] = Path("pipeline.toml"),
    *,
    index: Annotated[
        Path | None,
        typer.Option("--index", help="The index that is searched; its size and time are measured.", show_default=False),
    ] = None,
    documents: Annotated[
        int | None, typer.Option(help="Documents of the corpus, where there is no index yet.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Where the index's model is now, if it moved.")
    ] = None,
    questions: Annotated[
        str,
        typer.Option(help="Their kind: explanations, documentation, mathematics, coding-problems or unknown."),
    ] = "unknown",
    latency: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Milliseconds that a query may take.", rich_help_panel=_TIME),
    ] = None,
    retriever_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", help="What the retriever takes of them, without --index.", rich_help_panel=_TIME),
    ] = None,
    pair_ms: Annotated[
        float,
        typer.Option(metavar="MS", help="What the reranker takes for a document.", rich_help_panel=_TIME),
    ] = 300.0,
    reranker: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A late-interaction model, for plans without a chat model."),
    ] = None,
    chat: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Its name, such as openai:gpt-4o-mini.", rich_help_panel=_CHAT),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Its OpenAI-compatible server.", rich_help_panel=_CHAT)
    ] = None,
    tokens_per_second: Annotated[
        float, typer.Option(help="What it writes for one query.", rich_help_panel=_CHAT)
    ] = 50.0,
    input_price: Annotated[
        float | None, typer.Option(help="Its price per million tokens read.", rich_help_panel=_CHAT)
    ] = None,
    output_price: Annotated[
        float | None, typer.Option(help="Its price per million tokens written.", rich_help_panel=_CHAT)
    ] = None,
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
    settings = _chat(chat, base_url, input_price, output_price)
    options: dict[str, Any] = {
        "questions": questions,
        "chat": settings,
        "tokens_per_second": tokens_per_second,
        "pair_seconds": _seconds("--pair-ms", pair_ms),
        "seconds": _seconds("--latency", latency),
        **({} if reranker is None else {"reranker": _known(reranker)}),
    }
    PlanRequest(documents=1, retriever_seconds=1e-9, **options)  # refused before the index is opened
    size, seconds = _corpus(index, documents, model, retriever_ms)
    plan = plan_pipeline(PlanRequest(documents=size, retriever_seconds=seconds, **options))
    files = {to: planned_toml(plan), routed_path: routed_toml(plan)}
    written = [path for path, text in files.items() if _write(path, text)]
    if as_json:
        typer.echo(json_text(_record(plan, written)))
        return
    for line in _lines(plan, written, index=index):
        typer.echo(line)


def _seconds(option: str, milliseconds: float | None) -> float | None:
    if milliseconds is None:
        return None
    if not 0.0 < milliseconds < math.inf:
        raise InputError(f"{option} is {milliseconds:g}; want milliseconds above 0")
    return milliseconds / 1000


def _chat(
    name: str | None, base_url: str | None, input_price: float | None, output_price: float | None
) -> ChatModelSettings | None:
    """Return the settings of a chat model, which is not asked; raises InputError for its options without a name."""
    from reasonembed_rag.llm import ChatModelSettings

    if name is None:
        if (base_url, input_price, output_price) != (None, None, None):
            raise InputError("--base-url, --input-price and --output-price are about a chat model; name it with --chat")
        return None
    return ChatModelSettings(name=name, base_url=base_url, input_price=input_price, output_price=output_price)


def _known(model: str) -> str:
    if Path(model).is_dir() or (_HUB_ID.fullmatch(model) and not Path(model).exists()):
        return model
    raise InputError(f"--reranker is {model!r}; want a folder that is there, or the hub id of a model: owner/name")


def _corpus(
    index: Path | None, documents: int | None, model: str | None, retriever_ms: float | None
) -> tuple[int, float | None]:
    """Return the number of documents and the seconds of a query; raises InputError for an index without texts."""
    if (index is None) == (documents is None):
        raise InputError("want --index FOLDER or --documents N, one of them")
    if index is None:
        if model is not None:
            raise InputError("--model is about the index's model; give --index with it")
        return documents or 0, _seconds("--retriever-ms", retriever_ms)
    if retriever_ms is not None:
        raise InputError("--retriever-ms is measured with --index; leave it out")
    from reasonembed_stores import IndexModel, IndexRetriever, open_store

    with closing(open_store(index)) as store:
        size = len(store)
        texts = (document.content for document in store.documents())
        worded = list(islice((text for text in texts if any(map(str.isalnum, text))), _QUERIES))
    if not worded:
        found = "no documents" if not size else "documents without texts, which expansion and rerankers read"
        raise InputError(f"{index} has {found}; want an index of texts: reasonembed index FILES --to {index}")
    retriever = IndexRetriever(index, IndexModel(model=model))
    with closing(retriever.store):
        return size, _median_seconds(with_bm25(retriever), worded)


def _median_seconds(retriever: Any, texts: Sequence[str]) -> float:
    """Return the median time of a query, of the first words of some texts."""
    import statistics
    import time

    queries = [" ".join(text.split()[:_WORDS]) for text in texts]
    retriever.search(queries[:1], k=10)  # what only the first one takes
    taken = []
    for query in queries:
        start = time.perf_counter()
        retriever.search([query], k=10)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


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
