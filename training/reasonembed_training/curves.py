"""Plot a run: loss, reasoning intensity and dev scores over steps, and the distribution of intensities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from reasonembed_rag.errors import MissingDependencyError, TrainingError
from reasonembed_rag.files import replacing
from reasonembed_rag.pages import LIGHT_COLOURS, SERIES_COLOURS
from reasonembed_training.log import read_metrics

__all__ = ["draw_curves"]

_SMOOTH = 20
"""Curves are moving averages over a window of 1 / _SMOOTH of the run."""
_FIRST, _SECOND, _THIRD = SERIES_COLOURS[:3]
_INK, _SOFT, _LINE = (LIGHT_COLOURS[name] for name in ("ink", "soft", "line"))
_LOOK = {
    "axes.axisbelow": True,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.labelcolor": _SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": _LINE,
    "legend.frameon": False,
    "text.color": _INK,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
}
"""The look of the HTML pages."""


def draw_curves(run: Path, *, to: Path | None = None) -> Path:
    """Plot RUN/metrics.jsonl as a PNG (RUN/curves.png by default) and return its path.

    Raises TrainingError for a run without a step and MissingDependencyError if matplotlib is not installed.
    """
    lines = read_metrics(run / "metrics.jsonl")
    steps = [line for line in lines if line["kind"] == "train"]
    if not steps:
        raise TrainingError(f"{run / 'metrics.jsonl'}: no step yet; want a run that has finished a step")
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
        from matplotlib.rcsetup import cycler
    except ImportError as error:
        raise MissingDependencyError("matplotlib", "train") from error
    path = to or run / "curves.png"
    look: Any = _LOOK | {"axes.prop_cycle": cycler(color=SERIES_COLOURS)}
    with mpl.rc_context(look), replacing(path) as file:
        figure = Figure(layout="constrained")
        figure.suptitle(run.resolve().name, fontweight="bold")
        _draw(figure, steps, [line for line in lines if line["kind"] == "dev"])
        figure.savefig(file, format="png", dpi=130)
    return path


def _draw(figure: Any, steps: list[dict[str, Any]], measured: list[dict[str, Any]]) -> None:
    latent = [line for line in steps if line.get("latent")]
    rows = 3 if latent else 2
    figure.set_size_inches(11, 3.5 * rows)
    (top, intensity), (dev, histogram), *last = figure.subplots(rows, 2)
    if latent:
        _draw_latent(last[0], latent)
    _draw_loss(top, steps)
    weighted = [line for line in steps if line["intensity"] is not None]
    _draw_intensity(intensity, weighted)
    _draw_dev(dev, measured)
    _draw_histogram(histogram, weighted)


def _draw_loss(axes: Any, steps: list[dict[str, Any]]) -> None:
    x = [line["step"] for line in steps]
    y = [line["info_nce"] for line in steps]
    axes.plot(x, y, color=_LINE, linewidth=0.8)
    axes.plot(x, _smooth(y), color=_FIRST)
    axes.set(title="mean InfoNCE, unweighted", xlabel="step", ylim=(0, None))


def _draw_latent(axes: Any, steps: list[dict[str, Any]]) -> None:
    losses, conflict = axes
    x = [line["step"] for line in steps]
    for name in ("embedding", "compression", "generation", "divergence"):
        y = [line["latent"][name] for line in steps]
        if y[0] is not None:
            losses.plot(x, _smooth(y), label=name)
    losses.set(title="latents: losses, unweighted", xlabel="step", ylim=(0, None))
    losses.legend(fontsize="small")
    conflict.plot(x, _smooth([line["latent"]["cosine"] for line in steps]))
    conflict.axhline(0, color=_SOFT, linestyle=":")
    conflict.set(title="cosine of embedding and memory gradients", xlabel="step", ylim=(-1, 1))


def _draw_intensity(axes: Any, steps: list[dict[str, Any]]) -> None:
    axes.set(title="reasoning intensity", xlabel="step")
    if not steps:
        _say_none(axes, "no step weighted by reasoning intensity")
        return
    x = [line["step"] for line in steps]
    column = {name: [line["intensity"][name] for line in steps] for name in ("min", "max", "mean", "median", "clipped")}
    axes.fill_between(x, _smooth(column["min"]), _smooth(column["max"]), color=_SECOND, alpha=0.15, linewidth=0)
    axes.plot(x, _smooth(column["mean"]), color=_SECOND, label="mean")
    axes.plot(x, _smooth(column["median"]), color=_THIRD, linestyle="--", label="median")
    axes.set(ylabel="RI (band: minimum to maximum)", ylim=(0, None))
    share = axes.twinx()
    share.grid(visible=False)
    share.plot(x, _smooth(column["clipped"]), color=_SOFT, linestyle=":", label="share at kappa")
    share.set(ylim=(0, 1), ylabel="share at kappa")
    axes.legend(loc="upper left")


def _draw_dev(axes: Any, measured: list[dict[str, Any]]) -> None:
    axes.set(title="dev nDCG@10", xlabel="step")
    if not measured:
        _say_none(axes, "no dev set measured")
        return
    x = [line["step"] for line in measured]
    for name in measured[0]["sets"]:
        axes.plot(x, [line["sets"][name] for line in measured], marker=".", label=name)
    if len(measured[0]["sets"]) > 1:
        axes.plot(x, [line["mean"] for line in measured], color=_INK, marker="o", label="mean")
    best = max(measured, key=lambda line: line["mean"])
    axes.axvline(best["step"], color=_SOFT, linestyle=":", label=f"best mean, {best['mean']:.4f}")
    axes.legend(fontsize="small")


def _draw_histogram(axes: Any, steps: list[dict[str, Any]]) -> None:
    axes.set(title="distribution of reasoning intensity", xlabel="RI")
    if not steps:
        _say_none(axes, "no step weighted by reasoning intensity")
        return
    half = len(steps) // 2
    for part, label in ((steps[:half], "first half of the steps"), (steps[half:], "second half")):
        counts = np.sum([line["intensity"]["histogram"] for line in part], axis=0) if part else np.zeros(1)
        if counts.sum():
            edges = np.linspace(0, steps[0]["intensity"]["kappa"], len(counts) + 1)
            axes.stairs(counts / counts.sum(), edges, fill=True, alpha=0.4, label=label)
    axes.set(ylabel="share of queries")
    axes.legend()


def _smooth(values: list[float]) -> list[float]:
    width = max(1, len(values) // _SMOOTH)
    return [float(np.mean(values[max(0, place - width + 1) : place + 1])) for place in range(len(values))]


def _say_none(axes: Any, why: str) -> None:
    axes.text(0.5, 0.5, why, ha="center", va="center", transform=axes.transAxes, color=_SOFT)
    axes.set(xticks=[], yticks=[])
