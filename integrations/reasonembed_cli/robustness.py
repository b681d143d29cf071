"""`reasonembed robustness`: measure what a retriever loses to typos, rewordings and poison."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.eval_index import task_over_index
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
from reasonembed_cli.robustness_steps import Attack, measure_robustness, show_robustness
from reasonembed_cli.systems import SystemChoice
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reasonembed_rag.perturb import PerturbationKind, Rewording

__all__ = ["robustness_command"]


def robustness_command(  # noqa: PLR0913  # each is an option of the command
    *,
    data: DataOption = None,
    task: Annotated[
        str | None, typer.Option(help="The task, of a copy of BRIGHT or of BRIGHT on Hugging Face.")
    ] = None,
    split: SplitOption = None,
    limit: LimitOption = None,
    model: SystemModelOption = None,
    adapter: AdapterOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = "auto",
    backend: BackendOption = "auto",
    retriever: RetrieverOption = "model",
    weight: WeightOption = 0.5,
    through: ThroughOption = "core",
    store: StoreOption = "faiss",
    component: ComponentOption = None,
    index: IndexOption = None,
    kinds: Annotated[str, typer.Option(help="all, or comma-separated kinds of perturbation.")] = "all",
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds.")] = "1999,5,27,2016,2026",
    thesaurus: Annotated[
        list[Path] | None,
        typer.Option(help="A WordNet folder, a MyThes .dat file or word vectors as .txt; searched for by default."),
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="A second model, which must rate a query with synonyms as equivalent.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="The least cosine at which the judge accepts.")] = 0.7,
    paraphrase: Annotated[
        str | None, typer.Option(help="A chat model that paraphrases, such as openai:gpt-4o-mini.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="The chat model's OpenAI-compatible server.")] = None,
    workers: Annotated[int, typer.Option(help="Concurrent requests to the chat model.")] = 8,
    poison: Annotated[int, typer.Option(help="Passages of a poisoning audit (10 or 50); 0 for no audit.")] = 0,
    poison_steps: Annotated[int, typer.Option(help="Steps of HotFlip; the papers' 5000 need a GPU.")] = 100,
    poison_split: Annotated[
        str | None, typer.Option(help="The split whose queries the attacker knows; half of the task's by default.")
    ] = None,
    geometry: Annotated[bool, typer.Option(help="Measure the geometry of the model's vectors.")] = True,
    k: HitsOption = 100,
    query_batch: QueryBatchOption = 1,
    keep_going: KeepGoingOption = False,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Another system's report, to compare with and to plot together.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder for the report, the variants and the page.")
    ] = None,
) -> None:
    """Measure how much quality a retriever loses to typos, reordering, synonyms, keyword queries and poison.

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
    loaded = load_task(task, folder=data, split=split, limit=limit)
    if index is not None:
        loaded = task_over_index(loaded, index)
    attack = Attack(
        passages=poison,
        steps=poison_steps,
        others=load_task(task, folder=data, split=poison_split).examples if poison and poison_split else None,
    )
    with ExitStack() as stack:
        cache = out / "vectors" if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        choice = SystemChoice(
            settings=EncoderSettings(
                model=model or "default", adapter=adapter, device=device, dtype=dtype, backend=backend
            ),
            kind=retriever,
            weight=weight,
            through=through,
            store=store,
            component=component,
            cache=cache,
            index=index,
            index_model=model if index is not None else None,
        )
        attack.check(choice)
        report = measure_robustness(choice, loaded, options, attack=attack, geometry=geometry, out=out)
    show_robustness([report, *others], out, Console())


def _kinds(names: str) -> tuple[PerturbationKind, ...]:
    """Parse a comma-separated list of kinds."""
    from reasonembed_rag.perturb import PERTURBATION_KINDS

    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in {*PERTURBATION_KINDS, "all"}]
    if unknown or not chosen:
        raise InputError(f"kinds is {names!r}; want all, or a comma-separated list of {', '.join(PERTURBATION_KINDS)}")
    return PERTURBATION_KINDS if "all" in chosen else tuple(kind for kind in PERTURBATION_KINDS if kind in chosen)


def _seeds(numbers: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in numbers.split(","))
    except ValueError as error:
        raise InputError(f"seeds is {numbers!r}; want comma-separated whole numbers, such as 1999,5,27") from error


def _rewording(
    thesauri: Sequence[Path] | None,
    judge: str | None,
    *,
    threshold: float,
    paraphrase: str | None,
    base_url: str | None,
    workers: int,
) -> Rewording:
    """Open the sources of other words: thesauri, a judge of them, and a paraphrasing chat model."""
    from reasonembed_cli.chat_models import open_chat_model
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.perturb import Rewording, chat_paraphraser, open_thesaurus

    if base_url is not None and paraphrase is None:
        raise InputError(f"got --base-url {base_url} without a chat model; name one with --paraphrase")
    return Rewording(
        thesauri=tuple(open_thesaurus(path) for path in thesauri or ()),
        judge=shared_encoder(EncoderSettings(model=judge)).embedder if judge is not None else None,
        threshold=threshold,
        paraphraser=chat_paraphraser(open_chat_model(paraphrase, base_url=base_url)) if paraphrase else None,
        workers=workers,
    )
