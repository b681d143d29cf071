"""A progress bar of an index run, and its messages, on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from reasonembed_cli.progress_lines import ProgressLines, has_terminal

if TYPE_CHECKING:
    from reasonembed_rag.llm import StageReport
    from reasonembed_stores import Progress

__all__ = ["IndexingProgress", "indexing_progress"]


@dataclass(frozen=True, slots=True)
class IndexingProgress:
    """build_index's two callbacks, and a block in which the bar is hidden, to ask a question."""

    on_progress: Callable[[Progress], None]
    on_message: Callable[[str], None]
    paused: Callable[[], AbstractContextManager[None]]


@contextmanager
def indexing_progress() -> Iterator[IndexingProgress]:
    """Show a progress bar while the block runs: of files while they are read, then of characters.

    Characters predict the time left better than documents do. Without a terminal, progress is a line a minute.
    """
    if not has_terminal():
        yield _in_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            unit = task.fields["unit"]
            return Text(f"{speed:,.0f} {unit}/s" if speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counted]}"),
        Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Bars(*columns, console=Console(stderr=True))
    reading = bars.add_task("Reading", total=None, visible=False, start=False, counted="", unit="files")
    indexing = bars.add_task("Indexing", total=None, visible=False, start=False, counted="", unit="characters")
    asking = bars.add_task("Enriching", total=None, visible=False, start=False, counted="", unit="replies")

    def on_progress(now: Progress) -> None:
        bars.start()
        if now.enrichment is not None:
            bars.start_task(asking)
            replies = now.enrichment.calls + now.enrichment.cached + now.enrichment.failures
            bars.update(asking, visible=True, completed=replies, counted=_told(now.enrichment))
            return
        bar = reading if now.of_files else indexing
        bars.start_task(bar)
        if now.of_files:
            counted = f"{now.files:,}/{now.of_files:,} files"
            bars.update(bar, visible=True, completed=now.files, total=now.of_files, counted=counted)
        else:
            counted = f"{now.documents:,}/{now.of_documents:,} documents"
            bars.update(bar, visible=True, completed=now.characters, total=now.of_characters, counted=counted)

    @contextmanager
    def paused() -> Iterator[None]:
        bars.stop()
        yield

    try:
        yield IndexingProgress(on_progress, bars.console.print, paused)
    finally:
        bars.stop()


def _in_lines() -> IndexingProgress:
    lines = ProgressLines()

    def on_progress(now: Progress) -> None:
        if now.enrichment is not None:
            lines.show("Enriching", now.documents, now.of_documents, more=_told(now.enrichment))
        elif now.of_files:
            lines.show("Reading", now.files, now.of_files, more="files")
        else:
            documents = f"{now.documents:,} of {now.of_documents:,} documents"
            lines.show("Indexing, characters", now.characters, now.of_characters, more=documents)

    return IndexingProgress(on_progress, lambda message: typer.echo(message, err=True), nullcontext)


def _told(report: StageReport) -> str:
    """Return what a chat model was asked so far, for the progress bar."""
    tokens = report.input_tokens + report.output_tokens
    cost = "" if report.cost is None else f", cost {report.cost:,.2f}"
    return f"{report.calls:,} calls, {tokens:,} tokens{cost}, {report.cached:,} kept, {report.failures:,} failed"
