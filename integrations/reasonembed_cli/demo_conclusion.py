"""The demo's last step: how often each system finds the passage needed, and what that shows, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reasonembed_cli.eval_tables import slim_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

__all__ = ["DEMO_CUTOFFS", "DemoContrast", "conclusion", "found_table"]

DEMO_CUTOFFS = (3, 5, 10)


@dataclass(frozen=True, slots=True)
class DemoContrast:
    """Two systems that differ in one thing, which `named` says."""

    named: str
    system: str
    other: str


def found_table(ranks: Mapping[str, Sequence[int | None]]) -> Table:
    """Return a table of how often each system ranked a gold passage among its first 3, 5 and 10."""
    (questions,) = {len(of_all) for of_all in ranks.values()}
    headings = [f"first {cutoff}" for cutoff in DEMO_CUTOFFS]
    table = slim_table("passage needed among the", headings, title=f"{questions} questions")
    for name, of_all in ranks.items():
        counts = [int(_found(of_all, cutoff).sum()) for cutoff in DEMO_CUTOFFS]
        table.add_row(name, *(f"{count} ({count / questions:.0%})" for count in counts))
    return table


def conclusion(ranks: Mapping[str, Sequence[int | None]], contrasts: Sequence[DemoContrast]) -> Iterator[str]:
    """Yield sentences: what the first system found, and the difference of the systems of each contrast.

    Differences are at the last cutoff, with their 95 % bootstrap interval, paired by question. A contrast with a system
    without ranks is left out.
    """
    cutoff = DEMO_CUTOFFS[-1]
    model, first = next(iter(ranks.items()))
    count, questions = int(_found(first, cutoff).sum()), len(first)
    yield (
        f"{questions} questions were asked, each with the passages that an expert would cite. {model} has one of them "
        f"among its first {cutoff} for {count} questions ({count / questions:.0%}) and misses the other "
        f"{questions - count}."
    )
    for contrast in contrasts:
        if {contrast.system, contrast.other} <= ranks.keys():
            differences = _found(ranks[contrast.system], cutoff) - _found(ranks[contrast.other], cutoff)
            yield f"{contrast.named}, {contrast.system} against {contrast.other}: {_gain(differences)}"


def _gain(differences_Q: NDArray[np.float64]) -> str:
    from reasonembed_rag.evaluation import bootstrap_intervals

    (interval,) = bootstrap_intervals([differences_Q[:, None]])
    count = int(differences_Q.sum())
    low, mean, high = (f"{100 * share:+.1f}" for share in (interval.low, differences_Q.mean(), interval.high))
    amount = f"{abs(count)} question{'' if abs(count) == 1 else 's'} {'fewer' if count < 0 else 'more'}"
    figures = f"{amount} ({mean} of 100, 95 % interval {low} to {high})"
    if interval.low <= 0 <= interval.high:
        return f"{figures}. The interval holds 0: a difference is not shown."
    return f"{figures}: a {'gain' if count > 0 else 'loss'} beyond chance."


def _found(ranks: Sequence[int | None], cutoff: int) -> NDArray[np.float64]:
    """Return (Q,) of 1 where a gold passage is among the first `cutoff`."""
    import numpy as np

    return np.asarray([rank is not None and rank <= cutoff for rank in ranks], dtype=np.float64)
