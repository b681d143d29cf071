"""The progress bar of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

from reasonembed_training.log import DevMetrics, StepMetrics

__all__ = ["Silent", "Watcher", "bar"]


class Watcher(Protocol):
    """Hears what a run does."""

    def say(self, message: str) -> None:
        """Hear a sentence."""

    def step(self, metrics: StepMetrics, *, steps: int) -> None:
        """Hear of a step, one of `steps`."""

    def dev(self, metrics: DevMetrics) -> None:
        """Hear of a measurement."""


class Silent:
    """Hears and says nothing."""

    def say(self, message: str) -> None:
        """Pass over."""

    def step(self, metrics: StepMetrics, *, steps: int) -> None:
        """Pass over."""

    def dev(self, metrics: DevMetrics) -> None:
        """Pass over."""


@contextmanager
def bar(*, show: bool = True) -> Iterator[Watcher]:
    """Yield a watcher that draws a bar on standard error, the figures below it and messages above it."""
    if not show:
        yield Silent()
        return
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    class Lines(Progress):
        """A bar in one line; the figures have lines of their own, which a narrow terminal breaks and never cuts."""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            yield from (Text(task.fields["told"]) for task in self.tasks)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}"),
    )
    with Lines(*columns, console=Console(stderr=True)) as progress:
        yield _Bar(progress)


class _Bar:
    def __init__(self, progress: object) -> None:
        self._progress: Any = progress
        self._task: Any = None
        self._dev = ""

    def say(self, message: str) -> None:
        self._progress.console.print(message, highlight=False, markup=False)

    def step(self, metrics: StepMetrics, *, steps: int) -> None:
        if self._task is None:
            self._task = self._progress.add_task("Training", total=steps, told="", left="")
        left = str(timedelta(seconds=round(metrics.seconds_left)))
        told = " · ".join(filter(None, [*_figures(metrics), self._dev]))
        self._progress.update(self._task, completed=metrics.step, total=steps, told=told, left=left)

    def dev(self, metrics: DevMetrics) -> None:
        self._dev = f"dev {metrics.mean:.4f}"
        sets = ", ".join(f"{name} {mean:.4f}" for name, mean in metrics.sets.items())
        self.say(f"step {metrics.step}: dev nDCG@10 {metrics.mean:.4f}{' (best)' if metrics.best else ''}: {sets}")


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
    yield f"gradient {metrics.gradient_norm:.2f}"
    yield f"{metrics.tokens_per_second:,.0f} tokens/s"
