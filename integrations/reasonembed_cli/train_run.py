"""`reasonembed train run`: train a model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train_run_command"]

_SIGTERM_EXIT_CODE = 143
"""The exit code that a shell reports for a process that SIGTERM ended: 128 + 15."""


def train_run_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, such as training/recipes/tiny-cpu.toml.")],
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: --set optim.lr=2e-5 (repeatable)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")] = False,
) -> None:
    """Train a model from a recipe; the same command resumes a stopped or killed run.

    reasonembed train run training/recipes/tiny-cpu.toml --set run.output=runs/mine

    On several GPUs: torchrun --nproc-per-node 8 $(which reasonembed) train run RECIPE
    """
    from reasonembed_training import read_recipe, train, training_bar

    read = read_recipe(recipe, changes=changes or [])
    with training_bar(show=not quiet) as callback:
        outcome = train(read, callback=callback)
    if outcome.model is None:
        raise typer.Exit(_SIGTERM_EXIT_CODE)
    typer.echo(outcome.model)
