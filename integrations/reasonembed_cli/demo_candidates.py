"""Which questions of python_reference's dev split the demo could ask, after the default model changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from reasonembed_cli.demo_questions import RIGHT_AT, gold_ranks

if TYPE_CHECKING:
    from reasonembed_rag.protocols import Retriever

__all__ = ["list_candidates"]


def list_candidates(systems: Mapping[str, Retriever]) -> None:
    """List dev questions with the rank of their first gold passage in each system, shortest question first.

    First those that the first system alone answers, then those that only the last, BM25, does not, then those that none
    does.
    """
    from reasonembed_rag.evaluation.python_reference import load_python_reference

    task = load_python_reference("dev")
    ranks = gold_ranks(systems, task.examples, k=len(task.documents))
    first, *others = systems
    groups: dict[str, list[str]] = {f"only {first}": [], "all but BM25": [], "none": []}
    rows = sorted(zip(task.examples, *ranks.values(), strict=True), key=lambda row: len(row[0].query))
    for example, *places in rows:
        right = {name for name, place in zip(systems, places, strict=True) if place is not None and place <= RIGHT_AT}
        columns = " ".join(f"{place or '-':>4}" for place in places)
        line = f"{columns}  {example.id}: {example.query}"
        if right == {first}:
            groups[f"only {first}"].append(line)
        elif right == systems.keys() - {others[-1]}:
            groups["all but BM25"].append(line)
        elif not right:
            groups["none"].append(line)
    for name, lines in groups.items():
        typer.secho(f"\nAnswered by {name}: {len(lines)}; ranks of {', '.join(systems)}", bold=True)
        typer.echo("\n".join(lines))
