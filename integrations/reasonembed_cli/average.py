"""`reasonembed average`: average trained adapters into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.outputs import check_new_folder

__all__ = ["average_command"]


def average_command(
    adapters: Annotated[list[Path], typer.Argument(help="Adapter folders, exported with run.export=adapter.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.")],
    base_share: Annotated[float, typer.Option(help="How far the average goes back towards the base.")] = 0.0,
    rank: Annotated[
        int | None, typer.Option(help="Cut the average to this rank: a smaller file. Left out, nothing is cut.")
    ] = None,
) -> None:
    """Average adapters of one base, trained with other seeds or for other lengths, into one.

    reasonembed average runs/seed-1/model runs/seed-2/model --out averaged/
    """
    from reasonembed_training import average_adapters

    check_new_folder(out)
    average_adapters(adapters, out, base_share=base_share, rank=rank)
    typer.echo(out)
