"""`reasonembed data`: the sets that this project trains and measures on, made from their public sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.progress import progress_of
from reasonembed_cli.showing import JsonOption, echo_json
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

    from reasonembed_training.datasets import DataSet, FetchProgress

__all__ = ["data_app"]

data_app = typer.Typer(no_args_is_help=True, help="Get the sets that this project trains and measures on.")

_NamesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Sets that `reasonembed data list` shows, or all.")
]
_ToOption = Annotated[Path, typer.Option("--to", "-o", help="The folder that has a folder for each set.")]
_CacheOption = Annotated[
    Path | None, typer.Option(help="The folder of downloads; datasets/ in the user's cache by default.")
]


@data_app.command("list")
def list_sets(*, to: _ToOption = Path("data"), as_json: JsonOption = False) -> None:
    """List the sets: what a query seeks, licence, source, and which are made already.

    reasonembed data list
    """
    from reasonembed_training.datasets import data_sets, is_made

    if as_json:
        echo_json({**_record(one), "made": is_made(one, to / one.name)} for one in data_sets())
        return
    from rich.console import Console

    Console().print(_table(data_sets(), to))


@data_app.command()
def fetch(names: _NamesArgument, *, cache: _CacheOption = None) -> None:
    """Download what sets are made from; what has arrived is kept, and a broken transfer goes on where it stopped.

    reasonembed data fetch entailmentbank ecare
    """
    from reasonembed_training.datasets import fetch_set

    for one in _chosen(names):
        with progress_of(one.name) as (bar,):
            files = fetch_set(one, cache=cache, progress=_progress(bar))
        typer.echo("\n".join(map(str, files)) if files else f"{one.name}: needs no download")


@data_app.command()
def make(names: _NamesArgument, *, to: _ToOption = Path("data"), cache: _CacheOption = None) -> None:
    """Make sets, each in a folder of its name, after downloading what is missing; their checksums are compared.

    reasonembed data make entailmentbank ecare strategyqa

    reasonembed data make all --to data
    """
    from reasonembed_training.datasets import make_set

    for one in _chosen(names):
        with progress_of(one.name) as (bar,):
            made = make_set(one, to / one.name, cache=cache, progress=_progress(bar))
        rows = ", ".join(f"{count:,} {name}" for name, count in made.rows.items())
        typer.echo(f"{made.folder}: {rows or 'is there already'}; licence: {one.licence}")
        if one.measuring_only and made.rows:
            typer.echo(f"{one.name}: for measuring only; never train on it", err=True)


def _chosen(names: Sequence[str]) -> list[DataSet]:
    """Return the sets of these names, each once; raises InputError for an unknown one before any download."""
    from reasonembed_training.datasets import data_set, data_sets

    if "all" in names:
        if len(set(names)) > 1:
            raise InputError(f"got all and {', '.join(name for name in names if name != 'all')}; want all, or names")
        return list(data_sets())
    return [data_set(name) for name in dict.fromkeys(names)]


def _progress(bar: Callable[[int, int], None]) -> Callable[[str], FetchProgress]:
    """Return what makes a download's progress callback: bytes, of a total that is unknown for some."""

    def of(_url: str) -> FetchProgress:
        return lambda done, total: bar(done, total or done)

    return of


def _record(one: DataSet) -> dict[str, object]:
    return {
        "name": one.name,
        "seeks": one.seeks,
        "licence": one.licence,
        "origin": one.origin,
        "measuring_only": one.measuring_only,
        "sources": [{"url": source.url, "sha256": source.sha256} for source in one.sources],
    }


def _table(sets: Sequence[DataSet], to: Path) -> Table:
    from rich.table import Table
    from rich.text import Text

    from reasonembed_training.datasets import is_made

    table = Table(title="Data sets", show_lines=True)
    table.add_column("name", no_wrap=True)
    table.add_column("a query seeks; licence; from")
    for one in sets:
        purpose = "\nfor measuring only" if one.measuring_only else ""
        made = f"\nin {to / one.name}" if is_made(one, to / one.name) else ""
        table.add_row(Text(f"{one.name}{made}"), Text(f"{one.seeks}\n{one.licence}\n{one.origin}{purpose}"))
    return table
