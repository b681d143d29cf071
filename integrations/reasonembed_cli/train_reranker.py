"""`reasonembed train reranker`: a distilled cross-encoder from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["train_reranker_command"]

_SIGTERM_EXIT_CODE = 143
"""The exit code that a shell reports for a process that SIGTERM ended: 128 + 15."""


def train_reranker_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, such as training/recipes/reranker.toml.")],
    *,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: --set optim.lr=2e-5 (repeatable)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a cross-encoder from rows with negatives; the same command resumes a stopped or killed run.

    reasonembed train reranker training/recipes/reranker.toml --set run.output=runs/mine
    """
    from reasonembed_training import read_reranker_recipe, train_reranker, training_bar

    read = read_reranker_recipe(recipe, changes=changes or [])
    with training_bar(show=not quiet) as callback:
        outcome = train_reranker(read, callback=callback)
    if outcome.model is None:
        raise typer.Exit(_SIGTERM_EXIT_CODE)
    typer.echo(outcome.model)
