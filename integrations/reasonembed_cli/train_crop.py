"""`reasonembed train crop`: training rows from unlabelled texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reasonembed_cli.outputs import check_output_file

__all__ = ["train_crop_command"]


def train_crop_command(
    *,
    documents: Annotated[Path, typer.Option(help='A JSON Lines file of {"id", "content"} rows.')],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of training rows to write, JSON Lines.")],
    task: Annotated[str | None, typer.Option(help="The rows' task; the name of the file by default.")] = None,
    least_words: Annotated[int, typer.Option(help="The least number of words in each half.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the draw which half is the query.")] = 0,
) -> None:
    """Split long texts into halves that are query and positive of each other: rows without labels.

    Trained on some of these, a model that otherwise sees short texts keeps finding long ones.

    reasonembed train crop --documents docs/documents.jsonl --out halves.jsonl
    """
    from reasonembed_rag.files import read_jsonl_documents
    from reasonembed_training.data import crop

    check_output_file(out)
    report = crop(read_jsonl_documents(documents), to=out, task=task or out.stem, least_words=least_words, seed=seed)
    typer.echo(f"{report.rows} rows; left out: {report.short} short documents, {report.repeated} duplicates")
