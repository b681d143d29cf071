"""Callbacks of a training run, and a progress bar made of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from reasonembed_training.log import DevMetrics, StepMetrics

__all__ = ["SilentCallback", "TrainingCallback", "training_bar"]

_LINE_EVERY = 60.0
"""Seconds between lines where there is no terminal for a bar."""


class TrainingCallback(Protocol):
    """Called during a training run."""

    def message(self, text: str) -> None:
        """Take a message for the user."""

    def step(self, metrics: StepMetrics, *, steps: int) -> None:
        """Take the metrics of a step, one of `steps`."""

    def dev(self, metrics: DevMetrics) -> None:
        """Take a measurement on the dev sets."""


class SilentCallback:
    """Ignore everything."""

    def message(self, text: str) -> None:
        """Ignore a message."""

    def step(self, metrics: StepMetrics, *, steps: int) -> None:
        """Ignore a step."""

    def dev(self, metrics: DevMetrics) -> None:
        """Ignore a measurement."""


@contextmanager
def training_bar(*, show: bool = True) -> Iterator[TrainingCallback]:
    """Yield a callback that draws a progress bar on standard error, metrics below it and messages above it.

    Where standard error is a file, steps are lines in it, one a minute.
    """
    if not show:
        yield SilentCallback()
        return
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class BarAndMetrics(Progress):
        """A bar on one line and the metrics below it, which a narrow terminal wraps instead of truncating."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            yield from (Text(task.fields["metrics"]) for task in self.tasks)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
    )
    with BarAndMetrics(*columns, console=Console(stderr=True)) as progress:
        yield _BarCallback(progress)


class _BarCallback:
    def __init__(self, progress: object) -> None:
        self._progress: Any = progress
        self._task: Any = None
        self._dev = ""
        self._next_line = 0.0

    def message(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False)

    def step(self, metrics: StepMetrics, *, steps: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task("Training", total=steps, metrics="", left="")
        left = str(timedelta(seconds=round(metrics.seconds_left)))
        shown = " · ".join(filter(None, [*_figures(metrics), self._dev]))
        if not self._progress.console.is_terminal and (metrics.step == steps or time.monotonic() >= self._next_line):
            self._next_line = time.monotonic() + _LINE_EVERY
            self.message(f"step {metrics.step} of {steps}, left {left}: {shown}")
        self._progress.update(self._task, completed=metrics.step, total=steps, metrics=shown, left=left)

    def dev(self, metrics: DevMetrics) -> None:
        self._dev = f"dev {metrics.mean:.4f}"
        sets = ", ".join(f"{name} {mean:.4f}" for name, mean in metrics.sets.items())
        self.message(f"step {metrics.step}: dev nDCG@10 {metrics.mean:.4f}{' (best)' if metrics.best else ''}: {sets}")


def _figures(metrics: StepMetrics) -> Iterator[str]:
    yield f"loss {metrics.info_nce:.3f}"
    if metrics.intensity is not None:
        one = metrics.intensity
        yield f"RI mean {one.mean:.2f}, median {one.median:.2f}, {one.min:.2f} to {one.max:.2f}"
        yield f"{one.clipped:.0%} clipped"
    if metrics.divergence is not None:
        yield f"perturbed {metrics.divergence:.3f}"
    if metrics.drift is not None:
        yield f"drift {metrics.drift:.3f}"
    if metrics.distance is not None:
        yield f"from the teacher {metrics.distance:.3f}"
    yield f"gradient {metrics.gradient_norm:.2f}"
    yield f"{metrics.tokens_per_second:,.0f} tokens/s"
