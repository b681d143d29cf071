"""Progress bars and counts of truncated texts, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from reasonembed_cli.progress_lines import ProgressLines, has_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["ProgressCallback", "progress_of", "truncations_summed"]

ProgressCallback = Callable[[int, int], None]
"""Called with (done, total)."""


@contextmanager
def progress_of(*steps: str) -> Iterator[tuple[ProgressCallback, ...]]:
    """Yield a callback for each step that moves its bar; the first bar shows at once, the others when called.

    The bars of steps that were never called disappear at the end. Without a terminal, progress is a line a minute.
    """
    if not has_terminal():
        lines = ProgressLines()
        yield tuple(partial(lines.show, step) for step in steps)
        return
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
            progress.add_task(step, total=None, visible=position == 0, start=position == 0)
            for position, step in enumerate(steps)
        ]
        try:
            yield tuple(partial(_move, progress, bar) for bar in bars)
        finally:
            for bar in progress.tasks:
                progress.update(bar.id, visible=bar.total is not None)


def _move(progress: Progress, bar: TaskID, done: int, total: int) -> None:
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
