"""`reasonembed crop`: training rows from texts that nobody labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.outputs import check_output_file

__all__ = ["crop_documents"]


def crop_documents(
    *,
    documents: Annotated[Path, typer.Option(help='A file of {"id", "content"} rows, JSON Lines.')],
    out: Annotated[Path, typer.Option("--out", "-o", help="The training rows to write, JSON Lines.")],
    task: Annotated[str | None, typer.Option(help="The rows' task; without, the name of the file.")] = None,
    least_words: Annotated[int, typer.Option(help="Words that each half must have.")] = 20,
    seed: Annotated[int, typer.Option(help="Draws which half is the query.")] = 0,
) -> None:
    """Cut long texts in halves that ask for each other: rows without labels, which keep long texts findable.

    reasonembed crop --documents docs/documents.jsonl --out halves.jsonl
    """
    from reasonembed_rag.files import read_jsonl_documents
    from reasonembed_training.data import crop

    check_output_file(out)
    report = crop(read_jsonl_documents(documents), to=out, task=task or out.stem, least_words=least_words, seed=seed)
    typer.echo(f"{report.rows} rows; {report.short} documents too short, {report.repeated} said before")
