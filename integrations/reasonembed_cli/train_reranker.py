"""`reasonembed train reranker`: a distilled cross-encoder from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.option_groups import with_options
from reasonembed_cli.train_options import TrainingOptions

__all__ = ["train_reranker_command"]


@with_options
def train_reranker_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, such as training/recipes/reranker.toml.")],
    *,
    options: TrainingOptions,
) -> None:
    """Train a cross-encoder from rows with negatives; the same command resumes a stopped or killed run.

    reasonembed train reranker training/recipes/reranker.toml --set run.output=runs/mine
    """
    from reasonembed_training import read_reranker_recipe, train_reranker

    options.run(recipe, read=read_reranker_recipe, train=train_reranker)
