"""`reasonembed train run`: train a model from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.option_groups import with_options
from reasonembed_cli.train_options import TrainingOptions

__all__ = ["train_run_command"]


@with_options
def train_run_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe file, such as training/recipes/tiny-cpu.toml.")],
    *,
    options: TrainingOptions,
) -> None:
    """Train a model from a recipe; the same command resumes a stopped or killed run.

    reasonembed train run training/recipes/tiny-cpu.toml --set run.output=runs/mine

    On several GPUs: torchrun --nproc-per-node 8 $(which reasonembed) train run RECIPE
    """
    from reasonembed_training import read_recipe, train

    options.run(recipe, read=read_recipe, train=train)
