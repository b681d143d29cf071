"""`reasonembed search`: show the documents of an index that are nearest to a question."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.options import InstructionOption, TaskCardOption

if TYPE_CHECKING:
    from reasonembed_rag import Hits

__all__ = ["format_hits", "search_command"]


def search_command(
    index: Annotated[Path, typer.Argument(help="A folder that `reasonembed index` wrote.")],
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    k: Annotated[int, typer.Option("-k", help="How many documents to show.")] = 5,
    task: TaskCardOption = None,
    instruction: InstructionOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Where the model is now, if it moved since the index was created."),
    ] = None,
) -> None:
    """Show the documents of an index that help answer a question, best first, with their scores.

    reasonembed search docs.index "Why does my list keep growing between calls?"
    """
    from reasonembed_stores import IndexModel, IndexRetriever, is_unfinished

    retriever = IndexRetriever(index, IndexModel(model=model), task=task, instruction=instruction)
    (hits,) = retriever.search([question], k=k)
    typer.echo(format_hits(hits, lines=4))
    if is_unfinished(index):
        typer.echo(f"note: indexing {index} was interrupted; run it again to add the missing documents", err=True)


def format_hits(hits: Hits, *, lines: int) -> str:
    """Format hits: rank, score and id, then the first lines of the content, wrapped to the terminal's width."""
    width = min(shutil.get_terminal_size().columns, 120)
    blocks: list[str] = []
    for rank, hit in enumerate(hits, start=1):
        text = textwrap.fill(
            " ".join(hit.document.content.split()) if hit.document else "",
            width=width,
            initial_indent="    ",
            subsequent_indent="    ",
            max_lines=lines,
            placeholder=" ...",
        )
        blocks.append(f"{rank:2}. {hit.score:.4f}  {hit.id}\n{text}")
    return "\n".join(blocks)
