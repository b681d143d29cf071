"""`reasonembed remix`: make training rows from any corpus with any chat model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.chat_models import open_chat_model, open_models
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.remix_options import RemixOptions
from reasonembed_cli.remix_progress import remix_progress
from reasonembed_cli.remix_retriever import retriever_maker
from reasonembed_cli.remix_tables import agreement_table, plan_table, plan_text, quality_lines
from reasonembed_cli.showing import JsonOption, json_text
from reasonembed_rag.errors import InputError

__all__ = ["remix_app"]

remix_app = typer.Typer(no_args_is_help=True, help="Make training rows from any corpus with any chat model.")


class _StageName(StrEnum):
    """The stages of a run, in order."""

    clean = "clean"
    sources = "sources"
    generate = "generate"
    reason = "reason"
    mine = "mine"
    judge = "judge"
    rows = "rows"


_RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]


@remix_app.command()
def card(
    name: Annotated[str | None, typer.Argument(help="The shipped card to show; without a name, list them.")] = None,
    *,
    corpus: Annotated[str | None, typer.Option("--from", help="Draft a card for this corpus.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write; printed by default.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A chat model that reads sample documents.")
    ] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Its OpenAI-compatible server.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 42,
) -> None:
    """Show a task card, or draft one for a corpus: written by a chat model, or as a form to fill in.

    reasonembed remix card --from corpus.jsonl --model openai:gpt-4o-mini --out card.toml
    """
    from reasonembed_training.remixer import card_to_toml, load_card, shipped_cards

    if corpus is not None:
        if name is not None:
            raise InputError(f"got the card {name!r} and --from; want only one of them")
        text = _draft(corpus, out, model=model, base_url=base_url, seed=seed)
    elif name is not None:
        text = card_to_toml(load_card(name))
    else:
        text = "\n".join(shipped_cards()) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    from reasonembed_rag.files import replacing

    check_output_file(out)
    with replacing(out) as file:
        file.write(text.encode())
    typer.echo(f"{out}: written; check and edit it, then: reasonembed remix plan ... --card {out}")


def _draft(corpus: str, out: Path | None, *, model: str | None, base_url: str | None, seed: int) -> str:
    from reasonembed_training.remixer import blank_card, card_to_toml, draft_card, read_corpus, sample_documents

    title = (out.stem if out is not None else Path(corpus.rpartition(":")[2]).name.partition(".")[0]) or "corpus"
    samples = sample_documents(read_corpus(corpus).documents, seed=seed)
    if model is None:
        if base_url is not None:
            raise InputError("got --base-url without --model; name the model with --model")
        return card_to_toml(blank_card(title))
    return card_to_toml(draft_card(title, samples, open_chat_model(model, base_url=base_url)))


@remix_app.command()
@with_options
def plan(*, options: RemixOptions, as_json: JsonOption = False) -> None:
    """Show what a run will need: calls, tokens and cost. Nothing is sent.

    reasonembed remix plan corpus.jsonl --card card.toml --out run --model openai:gpt-4o-mini
    """
    from rich.console import Console

    from reasonembed_rag.files import plain_record
    from reasonembed_training.remixer import make_plan

    made = make_plan(options.read())
    if as_json:
        typer.echo(json_text({**plain_record(made), "cost": made.cost}))
        return
    Console().print(plan_table(made))
    typer.echo(plan_text(made))


@remix_app.command()
@with_options
def run(
    *,
    options: RemixOptions,
    until: Annotated[_StageName, typer.Option(help="The last stage to run.")] = _StageName.rows,
    pilot: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Show the first N answers of each stage, and ask before going on."),
    ] = None,
) -> None:
    """Make training rows; after a stop, the same command resumes, and no answer is paid for twice.

    reasonembed remix run corpus.jsonl --card card.toml --out run --model openai:gpt-4o-mini
    """
    from reasonembed_training.remixer import remix as make_rows

    settings = options.read(changes=[] if pilot is None else [f"pilot={pilot}"])
    models = open_models(settings, until=until.value)
    with remix_progress() as bar:
        make_retriever = retriever_maker(settings, progress=bar.encoded)
        states = make_rows(
            settings,
            models=models,
            make_retriever=make_retriever,
            until=until.value,
            callback=bar,
            approve=bar.approve if pilot is not None else None,
        )
    if until is _StageName.rows:
        typer.echo(f"{settings.out / 'rows.jsonl'}: {states['rows'].records:,} training rows")


@remix_app.command()
def report(
    folder: _RunArgument,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The page; RUN/report.html by default.")] = None,
) -> None:
    """Write a page on the quality of a run's rows: word overlap, scores, positives, lengths, samples.

    reasonembed remix report run
    """
    from reasonembed_rag.files import write_text
    from reasonembed_training.remixer import measure_quality, quality_page

    path = out or folder / "report.html"
    check_output_file(path)
    quality = measure_quality(folder)
    write_text(quality_page(quality), path)
    typer.echo("\n".join(quality_lines(quality)))
    typer.echo(f"{path}: the full report")


@remix_app.command()
def sft(
    folder: _RunArgument,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON Lines file to write.")],
    limit: Annotated[int | None, typer.Option(min=1, help="The most answers to export; all by default.")] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Equally many of each grade, as many as the rarest has.")
    ] = False,
) -> None:
    """Export the judge's answers as chat-format rows, to train a smaller judge.

    reasonembed remix sft run --out judge-sft.jsonl --balanced
    """
    from reasonembed_training.remixer import export_sft, read_settings

    check_output_file(out)
    counts = export_sft(read_settings(folder), out, limit=limit, balanced=balanced)
    grades = ", ".join(f"{count:,} of grade {grade}" for grade, count in counts.items())
    typer.echo(f"{out}: {sum(counts.values()):,} answers, {grades}")


@remix_app.command()
def agreement(
    first: _RunArgument,
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="A copy of the run, judged by another model.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the figures as JSON.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two judges on the candidates that both graded: Cohen's kappa, precision, recall and F1.

    reasonembed remix agreement run run-small-judge
    """
    from rich.console import Console

    from reasonembed_training.remixer import agreement_to_json, measure_agreement, read_grades, read_settings

    positive_from = read_settings(first).rows.positive_from
    measured = measure_agreement(read_grades(first), read_grades(second), positive_from=positive_from)
    if out is not None:
        from reasonembed_rag.files import write_text

        check_output_file(out)
        write_text(agreement_to_json(measured), out)
    if as_json:
        typer.echo(agreement_to_json(measured), nl=False)
    else:
        Console().print(agreement_table(measured))
