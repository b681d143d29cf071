"""`reasonembed train`: a model trained by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train_command"]

_STOPPED = 143
"""What a shell reports of a process that SIGTERM ended."""


def train_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as training/recipes/tiny-cpu.toml.")],
    *,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: --set optim.lr=2e-5")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Draw no progress bar.")] = False,
) -> None:
    """Train a model by a recipe; the same command goes on where a stopped or killed run was left.

    reasonembed train training/recipes/tiny-cpu.toml --set run.output=runs/mine

    On several GPUs: torchrun --nproc-per-node 8 $(which reasonembed) train RECIPE
    """
    from reasonembed_training import read_recipe, train, training_bar

    read = read_recipe(recipe, changes=changes or [])
    with training_bar(show=not quiet) as callback:
        outcome = train(read, callback=callback)
    if outcome.model is None:
        raise typer.Exit(_STOPPED)
    typer.echo(outcome.model)
