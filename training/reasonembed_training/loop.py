"""The training loop: steps, measurements and checkpoints, from the first step or from a checkpoint."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

import torch
from torch import nn

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.evaluation import RetrievalTask
from reasonembed_rag.files import replacing
from reasonembed_training import checkpoint
from reasonembed_training.checkpoint import TrainingProgress
from reasonembed_training.config import Recipe
from reasonembed_training.data import BatchMaker, TrainingBatch, prefetched
from reasonembed_training.dev_eval import Measurement, measure_dev_sets
from reasonembed_training.devices import Machine
from reasonembed_training.gather import sum_over_processes
from reasonembed_training.log import DevMetrics, MetricsLog, Pace, StepMetrics
from reasonembed_training.model import TrainingModel
from reasonembed_training.progress import TrainingCallback
from reasonembed_training.redapter import intensity_statistics
from reasonembed_training.step import NotFiniteError, StepResult

__all__ = ["Loop", "StopRequest", "rate_at", "stop_on_signals"]


class MakeGradient(Protocol):
    """Turn a batch into a gradient on the parameters."""

    def __call__(self, batch: TrainingBatch, *, weighted: bool) -> StepResult:
        """Add the gradient and return the figures of the step."""


@dataclass(slots=True, kw_only=True)
class Loop:
    """A run in progress."""

    recipe: Recipe
    machine: Machine
    model: TrainingModel
    module: nn.Module
    """The model as accelerate wraps it."""
    optimizer: Any
    stepper: MakeGradient
    maker: BatchMaker
    dev_tasks: Sequence[RetrievalTask]
    steps: int
    progress: TrainingProgress
    log: MetricsLog | None
    """None on all processes but the first."""
    callback: TrainingCallback

    @property
    def folder(self) -> Path:
        """Folder of the checkpoints."""
        return self.recipe.run.output / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether no step is left."""
        return self.progress.step >= self.steps or self._stopped_early()

    def run(self, stop: StopRequest) -> TrainingProgress:
        """Train to the last step, to early stopping or until a stop is requested; always save at the end."""
        if self.progress.base is None:
            self._measure()
        steps = range(self.progress.step, self.steps)
        pace = Pace()
        with closing(prefetched(self.maker, self.maker.sampler, steps, workers=self.recipe.run.workers)) as batches:
            for batch in batches:
                if self._stopped_early():
                    break
                self._step(batch, pace)
                done = self.progress.step
                if done % self.recipe.dev.every == 0 or done == self.steps:
                    self._measure()
                stopping = self._any_process(stop)
                if stopping or done % self.recipe.run.checkpoint_every == 0:
                    self._save()
                if stopping:
                    self.callback.message(f"stopped and saved at step {done} of {self.steps}; run again to resume")
                    break
        self._save()
        return self.progress

    def _step(self, batch: TrainingBatch, pace: Pace) -> None:
        started = time.perf_counter()
        config = self.recipe.optim
        lr = config.lr * rate_at(batch.step, steps=self.steps, warmup=config.warmup, schedule=config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        redapter = self.recipe.redapter
        try:
            result = self.stepper(batch, weighted=redapter.enabled and batch.step >= redapter.start_step)
            norm = self._clip()
        except NotFiniteError as error:
            raise self._stop_at(batch, str(error)) from error
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        seconds = time.perf_counter() - started
        pace.add(result.tokens, seconds)
        self.progress = replace(
            self.progress,
            step=batch.step + 1,
            seconds=self.progress.seconds + seconds,
            tokens=self.progress.tokens + result.tokens,
        )
        self._report_step(batch, result, norm=norm, lr=lr, pace=pace)

    def _clip(self) -> float:
        """Clip the gradient in place and return its norm before."""
        most = self.recipe.optim.clip or float("inf")
        norm = float(self.machine.accelerator.clip_grad_norm_(self.module.parameters(), most))
        if not torch.isfinite(torch.tensor(norm)):
            raise NotFiniteError(f"the gradient's norm is {norm}")
        return norm

    def _stop_at(self, batch: TrainingBatch, reason: str) -> TrainingError:
        """Save the ids of the rows of a step that failed; return the error to raise."""
        path = self.recipe.run.output / f"stopped-at-step-{batch.step + 1:08d}-{self.machine.rank}.json"
        with replacing(path) as file:
            rows = {"step": batch.step + 1, "reason": reason, "task": batch.task, "rows": batch.row_ids}
            file.write(json.dumps(rows, ensure_ascii=False, indent=1).encode())
        return TrainingError(
            f"step {batch.step + 1}: {reason}; the ids of its rows are in {path}, the checkpoints are intact: "
            "check those rows, lower optim.lr, or train in float32 (model.precision)"
        )

    def _report_step(self, batch: TrainingBatch, result: StepResult, *, norm: float, lr: float, pace: Pace) -> None:
        step = batch.step + 1
        if self.log is None or (step % self.recipe.run.log_every and step != self.steps):
            return
        intensity = None
        if result.intensity is not None:
            intensity = intensity_statistics(result.intensity, kappa=self.recipe.redapter.kappa)
        metrics = StepMetrics(
            step=step,
            task=batch.task,
            loss=result.loss,
            info_nce=result.info_nce,
            intensity=intensity,
            divergence=result.divergence,
            drift=result.drift,
            distance=result.distance,
            latent=result.latent,
            gradient_norm=norm,
            lr=lr,
            tokens=result.tokens,
            tokens_per_second=pace.tokens_per_second,
            seconds_left=pace.seconds_left(self.steps - step),
        )
        self.log.step(metrics)
        self.callback.step(metrics, steps=self.steps)

    def _measure(self) -> None:
        """Measure on the dev sets and save the weights if they are the best so far."""
        if not self.dev_tasks:
            return
        step, before = self.progress.step, self.progress.best
        measured = self.measured()
        best = before is None or measured.mean > before.mean
        if best:
            checkpoint.save_weights(self.best_path(step), self.module, rank=self.machine.rank)
        self.progress = replace(
            self.progress,
            base=self.progress.base or measured,
            best=measured if best else before,
            last=measured,
            since_best=0 if best else self.progress.since_best + 1,
        )
        if self.log is not None:
            metrics = DevMetrics(step=step, mean=measured.mean, sets=measured.means, best=best)
            self.log.dev(metrics)
            self.callback.dev(metrics)

    def measured(self) -> Measurement:
        """Return the dev scores of the current weights; the recipe must have a dev set."""
        budget, share = self.recipe.batch.tokens, not self.machine.sharded
        return measure_dev_sets(self.model, self.dev_tasks, step=self.progress.step, budget=budget, share=share)

    def best_path(self, step: int) -> Path:
        """Return the file of the weights that were best at a step."""
        return self.folder / f"best-{step:08d}.safetensors"

    def _save(self) -> None:
        last = checkpoint.checkpoints(self.folder)
        if last and last[-1].name == f"step-{self.progress.step:08d}":
            return
        checkpoint.save(self.folder, self.progress, self.module, self.optimizer, rank=self.machine.rank)
        if self.machine.rank == 0:
            checkpoint.prune(self.folder, keep=self.recipe.run.checkpoints)
            for path in self.folder.glob("best-*.safetensors"):
                if self.progress.best is not None and path != self.best_path(self.progress.best.step):
                    path.unlink(missing_ok=True)

    def _stopped_early(self) -> bool:
        patience = self.recipe.dev.patience
        return patience is not None and self.progress.since_best >= patience

    def _any_process(self, stop: StopRequest) -> bool:
        """Return on every process whether any process was asked to stop."""
        return bool(sum_over_processes(torch.tensor(float(stop.made), device=self.machine.device)) > 0)


def rate_at(step: int, *, steps: int, warmup: float, schedule: Literal["linear", "cosine", "constant"]) -> float:
    """Return the learning rate at a step counted from 0, of `steps` in total, as a share of its peak.

    It rises linearly over the first `warmup` share of the steps, then falls to 0 linearly or as half a cosine wave, or
    stays constant.
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    done = (step - rising) / max(1, steps - rising)
    return 1.0 - done if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))


class StopRequest:
    """Whether a stop was requested."""

    def __init__(self) -> None:
        self.made = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Yield a request that SIGTERM or SIGINT makes; a second signal has its usual effect.

    Signals can only be caught in the main thread; in others the request is never made.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    signals = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in signals}

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        request.made = True
        signal.signal(number, before[signal.Signals(number)])

    for number in signals:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number in signals:
            signal.signal(number, before[number])
