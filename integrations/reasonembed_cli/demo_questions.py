"""The questions that `reasonembed demo` asks, and the ranks of their gold passages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Example
    from reasonembed_rag.protocols import Retriever

__all__ = ["DEMO_QUESTIONS", "MISSED_QUESTION", "RIGHT_AT", "demo_examples", "first_ranks", "gold_ranks"]

RIGHT_AT = 3
"""A question is answered rightly if one of its gold passages is among this many."""

DEMO_QUESTIONS = (
    "all-fields-of-object",
    "fromkeys-one-list",
    "ctrl-c-does-not-stop-worker",
    "backup-changed-too",
)
"""Ids of python_reference's dev split. After the default model changed, choose by `reasonembed demo --candidates`."""

MISSED_QUESTION = "backup-changed-too"
"""The one of them that the default model does not answer, so that the demo shows a failure too."""

_BATCH = 32


def demo_examples(examples: Sequence[Example]) -> list[Example]:
    """Return the demo's questions out of those of the dev split."""
    by_id = {example.id: example for example in examples}
    return [by_id[identity] for identity in DEMO_QUESTIONS]


def gold_ranks(
    systems: Mapping[str, Retriever],
    examples: Sequence[Example],
    *,
    k: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, list[int | None]]:
    """Return, by system, the rank of each question's first gold passage; None if it is not among the k found."""
    ranks: dict[str, list[int | None]] = {name: [] for name in systems}
    for number, (name, retriever) in enumerate(systems.items()):
        for start in range(0, len(examples), _BATCH):
            ranks[name] += first_ranks(retriever, examples[start : start + _BATCH], k=k)
            if progress is not None:
                progress(number * len(examples) + len(ranks[name]), len(systems) * len(examples))
    return ranks


def first_ranks(retriever: Retriever, examples: Sequence[Example], *, k: int) -> list[int | None]:
    """Return the rank of each question's first gold passage; None if it is not among the k found."""
    found = retriever.search([example.query for example in examples], k=k)
    return [
        next((rank for rank, identity in enumerate(hits.ids, start=1) if identity in example.gold_ids), None)
        for example, hits in zip(examples, found, strict=True)
    ]
