"""Progress bars of the command line, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Tell", "progress_of", "truncations_summed"]

Tell = Callable[[int, int], None]
"""Told (done, in all)."""


@contextmanager
def progress_of(*steps: str) -> Iterator[tuple[Tell, ...]]:
    """Yield for each step a function that moves its bar; the first shows at once, the others at their first news.

    A step that never had news vanishes at the end.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars = [
            progress.add_task(step, total=None, visible=place == 0, start=place == 0)
            for place, step in enumerate(steps)
        ]
        try:
            yield tuple(partial(_tell, progress, bar) for bar in bars)
        finally:
            for bar in progress.tasks:
                progress.update(bar.id, visible=bar.total is not None)


def _tell(progress: Progress, bar: TaskID, done: int, total: int) -> None:
    progress.start_task(bar)
    progress.update(bar, completed=done, total=total, visible=True)


@contextmanager
def truncations_summed(name: str) -> Iterator[None]:
    """Report on stderr, once at the end of the block, how many texts encoders truncated."""
    import typer

    from reasonembed_rag.encoder import collect_truncations

    with collect_truncations() as counts:
        yield
    for line in counts.lines():
        typer.echo(f"{name}: {line}", err=True)
