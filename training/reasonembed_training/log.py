"""Metrics of a run: one JSON line per step or measurement, and the same numbers for accelerate's trackers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.files import replacing
from reasonembed_training.redapter import IntensityStatistics

__all__ = ["DevMetrics", "LatentLosses", "MetricsLog", "Pace", "StepMetrics", "read_metrics"]

_WINDOW = 20
"""Steps over which the speed is averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentLosses:
    """The losses of latent rows in a step, unweighted: means per token."""

    embedding: float
    """The objective of queries and documents."""
    compression: float
    """Cross-entropy of the answers' tokens given the memories."""
    generation: float
    """Cross-entropy of the documents' tokens as plain text; a frozen decoder's own, which training does not change."""
    divergence: float | None
    """KL from the decoder with the full text; None without that term."""
    cosine: float
    """Cosine between the gradients of the embedding loss and of the others: below 0 they conflict."""
    truncated: int = 0
    """Documents that were longer than a memory reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMetrics:
    """Metrics of an optimiser step, over all processes."""

    step: int
    """Counted from 1."""
    task: str
    loss: float
    """The objective, weighted."""
    info_nce: float
    """Mean InfoNCE, unweighted; of a cross-encoder the listwise loss."""
    intensity: IntensityStatistics | None
    divergence: float | None = None
    """Mean KL of perturbed queries' rankings from the queries' own, unweighted."""
    drift: float | None = None
    """Mean KL of the queries' rankings from the reference model's, unweighted."""
    distance: float | None = None
    """Mean KL of the queries' rankings from the teacher's, unweighted."""
    latent: LatentLosses | None = None
    gradient_norm: float
    lr: float
    tokens: int
    tokens_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DevMetrics:
    """Metrics of a measurement on the dev sets."""

    step: int
    mean: float
    """Mean nDCG@10 over the sets."""
    sets: Mapping[str, float]
    """nDCG@10 by set."""
    best: bool


class Pace:
    """The speed of a run, averaged over its latest steps."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=_WINDOW)

    def add(self, tokens: int, seconds: float) -> None:
        """Count a step."""
        self._recent.append((tokens, seconds))

    @property
    def tokens_per_second(self) -> float:
        """The tokens of the latest steps by their seconds."""
        return sum(tokens for tokens, _ in self._recent) / self._seconds

    def seconds_left(self, steps: int) -> float:
        """Return what so many further steps will take."""
        return self._seconds / len(self._recent) * steps

    @property
    def _seconds(self) -> float:
        return sum(seconds for _, seconds in self._recent)


class MetricsLog:
    """Append to RUN/metrics.jsonl; a resumed run first deletes the lines after its checkpoint."""

    def __init__(self, path: Path, *, after_step: int, tracker: Any = None) -> None:
        self._path = path
        self._tracker = tracker
        if path.is_file():
            kept = [line for line in read_metrics(path) if line["step"] <= after_step]
            with replacing(path) as file:
                file.writelines(f"{json.dumps(line)}\n".encode() for line in kept)

    def step(self, metrics: StepMetrics) -> None:
        """Log a step."""
        self._write("train", asdict(metrics))

    def dev(self, metrics: DevMetrics) -> None:
        """Log a measurement."""
        self._write("dev", asdict(metrics))

    def _write(self, kind: str, values: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, **values}) + "\n")
        if self._tracker is not None:
            numbers = {name: value for name, value in _flat(values, kind) if name != f"{kind}/step"}
            self._tracker.log(numbers, step=values["step"])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run; a last line truncated by a kill is ignored.

    Raises TrainingError for a missing file and for any other invalid line.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: no such file; want the output folder of a run that has finished a step")
    lines = path.read_text(encoding="utf-8").split("\n")
    metrics = []
    for number, line in enumerate(lines, start=1):
        try:
            metrics.append(json.loads(line)) if line else None
        except ValueError as error:
            if number == len(lines):
                break
            raise TrainingError(f"{path}:{number}: not a line of metrics ({error})") from error
    return metrics


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}/{name}")
        elif isinstance(value, int | float):
            yield f"{prefix}/{name}", float(value)
