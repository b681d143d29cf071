"""The progress bar of a ReMixer run: records done, calls, tokens and cost so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import indent
from typing import TYPE_CHECKING

import typer

from reasonembed_cli.progress_lines import ProgressLines, has_terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from reasonembed_rag.llm import CallStats, SeenAnswer
    from reasonembed_training.remixer import Stage, StageState

__all__ = ["RemixBar", "format_stats", "remix_progress"]

_SECONDS_BETWEEN = 0.1
_SHOWN_CHARACTERS = 600
"""Of each answer of a pilot."""


@contextmanager
def remix_progress() -> Iterator[RemixBar]:
    """Yield progress callbacks that show a bar on stderr and leave one line per stage."""
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
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[usage]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield RemixBar(progress)


class RemixBar:
    """Progress callbacks of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar: TaskID | None = None
        self._encoding: TaskID | None = None
        self._shown = 0.0
        self._lines = None if has_terminal() else ProgressLines()
        self._stage = ""
        self._total: int | None = None

    def begin(self, stage: Stage, *, total: int | None) -> None:
        """Start a stage's bar."""
        self._bar = self._progress.add_task(stage, total=total, usage="")
        self._stage, self._total = stage, total

    def advance(self, done: int, stats: CallStats) -> None:
        """Move the bar, at most ten times per second."""
        now = time.monotonic()
        if self._bar is not None and now - self._shown >= _SECONDS_BETWEEN:
            self._shown = now
            self._progress.update(self._bar, completed=done, usage=format_stats(stats))
            if self._lines is not None:
                self._lines.show(self._stage, done, self._total, more=format_stats(stats))

    def encoded(self, done: int, total: int) -> None:
        """Show how many documents the retriever's model has encoded."""
        if self._lines is not None:
            self._lines.show("encoding documents", done, total)
        if self._encoding is None:
            self._encoding = self._progress.add_task("encoding documents", total=total, usage="")
        self._progress.update(self._encoding, completed=done)
        if done == total:
            self._progress.remove_task(self._encoding)
            self._encoding = None

    def end(self, stage: Stage, state: StageState, *, kept: bool) -> None:
        """Print a line about the stage."""
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in state.drops.items())
        spent = state.spent
        cost = f", cost {spent.cost:,.2f}" if spent.cost is not None else ""
        usage = (
            f"; {spent.calls:,} calls, {spent.input_tokens + spent.output_tokens:,} tokens{cost}" if spent.calls else ""
        )
        typer.echo(
            f"{stage:9} {state.records:,} records{' (from an earlier run)' if kept else ''}"
            f"{f'; dropped: {dropped}' if dropped else ''}{usage}"
            f"{f'; {state.retryable:,} answers are missing for now: run again' if state.retryable else ''}"
            f"{f' (the last failure was {state.failure})' if state.retryable and state.failure else ''}",
            err=True,
        )

    def approve(self, stage: Stage, answers: Sequence[SeenAnswer]) -> bool:
        """Show a stage's first answers and ask whether to go on; without an answer it is a no."""
        self._progress.stop()
        for number, answer in enumerate(answers, start=1):
            state = f"unusable, {answer.reason}" if answer.reason else "usable"
            text = answer.text.strip()
            shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS].rstrip()} ..."
            typer.echo(f"\n{stage} {number}: {state}\n{indent(shown or '(nothing)', '    ')}", err=True)
        bad = sum(answer.reason is not None for answer in answers)
        try:
            go_on = typer.confirm(
                f"\n{bad} of these {len(answers)} answers are unusable. Go on with {stage}?", err=True
            )
        except typer.Abort:
            go_on = False
        if go_on:
            self._progress.start()
        return go_on


def format_stats(stats: CallStats) -> str:
    """Format the calls, tokens and cost so far."""
    parts = [f"{stats.calls:,} calls", f"{stats.input_tokens + stats.output_tokens:,} tokens"]
    if stats.cost is not None:
        parts.append(f"cost {stats.cost:,.2f}")
    for count, name in ((stats.cached, "cached"), (stats.retries, "retries"), (stats.failures, "failed")):
        if count:
            parts.append(f"{count:,} {name}")
    return ", ".join(parts)
