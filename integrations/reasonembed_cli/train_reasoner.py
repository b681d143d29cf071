"""`reasonembed train reasoner`: a dense reasoner from rows with reasoning queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.outputs import check_new_folder
from reasonembed_cli.progress import progress_of

if TYPE_CHECKING:
    from reasonembed_training import ReasonerOutcome

__all__ = ["train_reasoner_command"]


def train_reasoner_command(
    rows: Annotated[list[Path], typer.Argument(help="Files of training rows with reasoning_query, JSON Lines.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A model folder, a Hugging Face id or 'default'.")] = (
        "default"
    ),
    dev: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of documents and judged queries that decides; a tenth of the rows by default."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="The split of the dev folders, such as dev.")] = None,
    epochs: Annotated[int, typer.Option(help="Epochs at most; training stops when dev gets no better.")] = 100,
    learning_rate: Annotated[float, typer.Option("--lr", help="AdamW's learning rate.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Seed of the weights, the order and the rows held out.")] = 0,
) -> None:
    """Train a small network from the vector of a query to that of its reasoning; the identity where dev does not gain.

    reasonembed train reasoner rows.jsonl --model default --dev entailmentbank --split dev --out reasoner/
    """
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.errors import InputError
    from reasonembed_rag.evaluation import read_task_folder
    from reasonembed_training import ReasonerSettings, train_reasoner
    from reasonembed_training.data import read_rows_of

    check_new_folder(out)
    if split is not None and not dev:
        raise InputError(f"--split {split} is the split of a dev folder; want --dev with it")
    settings = ReasonerSettings(epochs=epochs, learning_rate=learning_rate, seed=seed)
    read = read_rows_of(rows)
    tasks = [read_task_folder(folder, split=split) for folder in dev or ()]
    embedder = shared_encoder(EncoderSettings(model=model)).embedder
    with progress_of("Training") as (bar,):
        outcome = train_reasoner(
            read, embedder, dev=tasks, settings=settings, on_epoch=lambda epoch, _: bar(epoch, epochs)
        )
    outcome.reasoner.save(out)
    typer.echo(_summary(outcome))
    if outcome.left_out:
        typer.echo(f"dev queries left out because they are trained on: {outcome.left_out}")
    typer.echo(out)


def _summary(outcome: ReasonerOutcome) -> str:
    if outcome.best_epoch == 0:
        return f"{outcome.rows} rows, {outcome.epochs} epochs: no epoch is better on dev, the identity is kept"
    gain = outcome.gain
    said = (
        f"{outcome.rows} rows, epoch {outcome.best_epoch} of {outcome.epochs}: dev nDCG@10 {outcome.before:.4f} "
        f"without, {outcome.after:.4f} with it, {gain.low:+.4f} to {gain.high:+.4f}, on the half of the queries that "
        "did not choose"
    )
    if not outcome.kept:
        return f"{said}: the identity is kept"
    return said if gain.low > 0 else f"{said}: not shown to help"
