"""`reasonembed train average`: average trained adapters into one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.outputs import check_new_folder

__all__ = ["train_average_command"]


def train_average_command(
    adapters: Annotated[
        list[Path],
        typer.Argument(help="Adapter folders, exported with run.export=adapter; one named twice counts twice."),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.")],
    interpolate: Annotated[float, typer.Option(help="Share of the base's weights in the result, 0 to below 1.")] = 0.0,
    base_share: Annotated[float | None, typer.Option(hidden=True)] = None,
    rank: Annotated[
        int | None, typer.Option(help="Reduce the average to this rank, for a smaller file; the full rank by default.")
    ] = None,
) -> None:
    """Average adapters of one base, trained with other seeds or for other lengths, into one.

    reasonembed train average runs/seed-1/model runs/seed-2/model --out averaged/

    With a share of the base an adapter forgets less of what the base knew; it may then be a single one.

    reasonembed train average runs/mine/model --interpolate 0.4 --out milder/
    """
    from reasonembed_rag.deprecation import warn_deprecated
    from reasonembed_training import average_adapters

    check_new_folder(out)
    if base_share is not None:
        warn_deprecated("--base-share", "--interpolate", category=FutureWarning)
        interpolate = base_share
    average_adapters(adapters, out, interpolate=interpolate, rank=rank)
    typer.echo(out)
