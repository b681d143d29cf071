"""The demo's second step: questions with known answers, beside what its base and BM25 find for them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from reasonembed_cli.demo_questions import RIGHT_AT, gold_ranks
from reasonembed_cli.hits import format_hits
from reasonembed_cli.hybrid import parts_of
from reasonembed_cli.showing import one_line, terminal_width

if TYPE_CHECKING:
    from reasonembed_rag import Hits
    from reasonembed_rag.evaluation import Example
    from reasonembed_rag.protocols import Retriever
    from reasonembed_stores import IndexRetriever

__all__ = ["ask_judged", "ask_unjudged"]

_MARGIN = "    "


def ask_unjudged(index: IndexRetriever, questions: Sequence[str]) -> None:
    """Show what is found for questions whose answers nobody judged."""
    vectors = index.encode_queries(questions)
    found = index.search_hybrid(questions, vectors, k=RIGHT_AT)
    for question, vector, one in zip(questions, vectors, found, strict=True):
        typer.echo(f"\n{question}\n{format_hits(one.hits, parts_of(one, vector, index), lines=3)}")


def ask_judged(systems: Mapping[str, Retriever], examples: Sequence[Example], *, documents: int) -> None:
    """Show what the first system finds, its gold passages marked, and the rank of the first one in every system."""
    first = next(iter(systems.values()))
    found = first.search([example.query for example in examples], k=RIGHT_AT)
    ranks = gold_ranks(systems, examples, k=documents)
    for number, (example, hits) in enumerate(zip(examples, found, strict=True)):
        typer.echo(f"\n{_filled(example.query)}\n{_marked(hits, example)}")
        _judge(example, {name: of_all[number] for name, of_all in ranks.items()})


def _marked(hits: Hits, example: Example) -> str:
    lines: list[str] = []
    for rank, hit in enumerate(hits, start=1):
        heading = "" if hit.document is None else one_line(str(hit.document.metadata["heading"]))
        mark = "+" if hit.id in example.gold_ids else " "
        lines.append(
            textwrap.shorten(f"{rank}. {hit.id}: {heading}", terminal_width() - len(_MARGIN), placeholder=" ...")
        )
        lines[-1] = f"  {mark} {lines[-1]}"
    return "\n".join(lines)


def _judge(example: Example, ranks: Mapping[str, int | None]) -> None:
    """Say whether the first system is right, the rank of the passage needed in each, and why that one is needed."""
    first = next(iter(ranks.values()))
    is_right = first is not None and first <= RIGHT_AT
    verdict = "Right." if is_right else "Wrong."
    places = ", ".join(f"{'not found' if rank is None else f'rank {rank}'} by {name}" for name, rank in ranks.items())
    told = _filled(f"{verdict} Needed is {' or '.join(example.gold_ids)}: {places}.", _MARGIN)
    typer.secho(f"{_MARGIN}{verdict}", fg="green" if is_right else "red", bold=True, nl=False)
    typer.echo(told.removeprefix(f"{_MARGIN}{verdict}"))
    typer.echo(_filled(f"Why: {example.extra['reasoning']}", _MARGIN))


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, width=terminal_width(), initial_indent=indent, subsequent_indent=indent)
