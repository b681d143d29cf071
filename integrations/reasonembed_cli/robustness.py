"""`reasonembed robustness`: what a retriever loses to typos, rewordings and poison."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.robustness_steps import Attack, measure, tell
from reasonembed_cli.systems import Choice, Kind, Store, Through
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reasonembed_rag.perturb import Kind as Perturbed
    from reasonembed_rag.perturb import Rewording

__all__ = ["measure_robustness"]


def measure_robustness(  # noqa: PLR0913  # each is an option of the command
    *,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder of documents and examples[.split] (BRIGHT's fields), or a copy of BRIGHT."),
    ] = None,
    task: Annotated[str | None, typer.Option(help="Which task of a copy of BRIGHT, or of BRIGHT on the hub.")] = None,
    split: Annotated[str | None, typer.Option(help="Which examples.<split> of a folder to ask.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask only the first so many queries.")] = None,
    model: ModelOption = "default",
    adapter: Annotated[str | None, typer.Option(help="A LoRA folder or hub id on top of the model.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs, for instance cuda:0.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")] = "auto",
    retriever: Annotated[Kind, typer.Option(help="What searches.")] = "model",
    weight: Annotated[float, typer.Option(help="The model's share in a hybrid.")] = 0.5,
    through: Annotated[Through, typer.Option(help="Ask the model through a framework's own interface.")] = "core",
    store: Annotated[Store, typer.Option(help="The store that the framework searches.")] = "faiss",
    component: Annotated[
        str | None, typer.Option(help="Measure your own instead: module:object, a LangChain or LlamaIndex component.")
    ] = None,
    kinds: Annotated[str, typer.Option(help="all, or kinds of perturbation with commas between.")] = "all",
    seeds: Annotated[str, typer.Option(help="Seeds with commas between.")] = "1999,5,27,2016,2026",
    thesaurus: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of WordNet, a mythes .dat file, word vectors as .txt; found by itself without."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="Another model, which must take a query with synonyms for the same.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="The least cosine at which the judge does.")] = 0.7,
    paraphrase: Annotated[
        str | None, typer.Option(help="A chat model that paraphrases, such as openai:gpt-4o-mini.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="An OpenAI-compatible server that has the chat model.")] = None,
    workers: Annotated[int, typer.Option(help="Questions to the chat model at once.")] = 8,
    poison: Annotated[int, typer.Option(help="Passages of a poisoning audit (10 or 50); 0 makes none.")] = 0,
    poison_steps: Annotated[int, typer.Option(help="Steps of HotFlip; the papers' 5000 want a GPU.")] = 100,
    poison_split: Annotated[
        str | None, typer.Option(help="The split whose queries the attacker knows; half of the task's own without.")
    ] = None,
    geometry: Annotated[bool, typer.Option(help="Measure how the model's vectors lie.")] = True,
    k: Annotated[int, typer.Option("-k", help="Hits a query.")] = 100,
    query_batch: Annotated[int, typer.Option(help="Queries asked at once; faster, and moves the last bits.")] = 1,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Count a query that fails as 0 and go on.")] = False,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another system's report, to compare with and to draw beside.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the report, the variants and the page.")
    ] = None,
) -> None:
    """Measure what a retriever loses to typos, other word orders, other words, keyword queries and poison.

    reasonembed robustness --data entailmentbank --split dev --kinds all --poison 10 --out robust/
    """
    from rich.console import Console

    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.evaluation import RunOptions, load_task
    from reasonembed_rag.robustness import RobustnessOptions, read_robustness

    if out is not None:
        check_output_file(out / "report.json")
    others = [read_robustness(path) for path in beside or ()]
    options = RobustnessOptions(
        kinds=_kinds(kinds),
        seeds=_seeds(seeds),
        rewording=_rewording(
            thesaurus, judge, threshold=threshold, paraphrase=paraphrase, base_url=base_url, workers=workers
        ),
        asking=RunOptions(k=k, batch_size=query_batch, keep_going=keep_going),
    )
    read = load_task(task, folder=data, split=split, limit=limit)
    attack = Attack(
        passages=poison,
        steps=poison_steps,
        others=load_task(task, folder=data, split=poison_split).examples if poison and poison_split else None,
    )
    with ExitStack() as stack:
        cache = out / "vectors" if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        choice = Choice(
            settings=EncoderSettings(model=model, adapter=adapter, device=device, dtype=dtype),
            kind=retriever,
            weight=weight,
            through=through,
            store=store,
            component=component,
            cache=cache,
        )
        attack.check(choice)
        report = measure(choice, read, options, attack=attack, geometry=geometry, out=out)
    tell([report, *others], out, Console())


def _kinds(names: str) -> tuple[Perturbed, ...]:
    """Return the kinds of a list with commas; an unknown one is refused where the options are made."""
    from reasonembed_rag.perturb import KINDS

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in {*KINDS, "all"}]
    if unknown or not chosen:
        raise InputError(f"kinds is {names!r}; want all, or some of {', '.join(KINDS)} with commas between")
    return KINDS if "all" in chosen else tuple(kind for kind in KINDS if kind in chosen)


def _seeds(numbers: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in numbers.split(","))
    except ValueError as error:
        raise InputError(f"seeds is {numbers!r}; want whole numbers with commas between, such as 1999,5,27") from error


def _rewording(
    thesauri: Sequence[Path] | None,
    judge: str | None,
    *,
    threshold: float,
    paraphrase: str | None,
    base_url: str | None,
    workers: int,
) -> Rewording:
    """Open what other words come from."""
    from reasonembed_cli.chat_models import open_chat_model
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.perturb import Rewording, chat_paraphraser, open_thesaurus

    if base_url is not None and paraphrase is None:
        raise InputError(f"got --base-url {base_url} without a model there; name one with --paraphrase")
    return Rewording(
        thesauri=tuple(open_thesaurus(path) for path in thesauri or ()),
        judge=shared_encoder(EncoderSettings(model=judge)).embedder if judge is not None else None,
        threshold=threshold,
        paraphraser=chat_paraphraser(open_chat_model(paraphrase, base_url=base_url)) if paraphrase else None,
        workers=workers,
    )
