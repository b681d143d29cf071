"""`reasonembed train curves`: plot a training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.outputs import check_output_file

__all__ = ["train_curves_command"]


def train_curves_command(
    run: Annotated[Path, typer.Argument(help="The output folder of a training run.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The PNG file; RUN/curves.png by default.")] = None,
) -> None:
    """Plot a run's loss, reasoning intensity and dev nDCG@10 as a PNG.

    reasonembed train curves runs/tiny-cpu
    """
    from reasonembed_training import draw_curves

    if out is not None:
        check_output_file(out)
    typer.echo(draw_curves(run, to=out))
