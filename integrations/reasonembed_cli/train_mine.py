"""`reasonembed train mine`: training rows with hard negatives from a folder of judged queries."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.progress import progress_of

if TYPE_CHECKING:
    from reasonembed_cli.progress import ProgressCallback
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_rag.protocols import Retriever

__all__ = ["train_mine_command"]


class _Reasoning(StrEnum):
    APPEND = "append"
    REPLACE = "replace"
    NONE = "none"


def train_mine_command(  # noqa: PLR0913 - each is an option of the command
    *,
    data: Annotated[Path, typer.Option(help="A folder of documents.jsonl and examples[.split].jsonl.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of training rows to write, JSON Lines.")],
    split: Annotated[
        str | None, typer.Option(help="The split: examples.<split>.jsonl; examples.jsonl by default.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="The retriever: bm25, bm25-query-side, a model folder, a Hugging Face id, 'default' or hybrid:MODEL.",
        ),
    ] = "default",
    negatives: Annotated[int, typer.Option(help="Negatives per query.")] = 15,
    depth: Annotated[int, typer.Option(help="Retrieved documents per query.")] = 100,
    skip: Annotated[int, typer.Option(help="Top documents to skip.")] = 0,
    margin: Annotated[
        float | None,
        typer.Option(help="Skip documents that score less than this below the query's best positive."),
    ] = None,
    reasoning: Annotated[
        _Reasoning,
        typer.Option(help="How the reasoning query is made: reasoning appended to the query, in its place, or none."),
    ] = _Reasoning.APPEND,
    instruction: Annotated[str | None, typer.Option(help="The rows' instruction; the task card's by default.")] = None,
    given: Annotated[bool, typer.Option(help="Put the examples' own hard_negative_ids first.")] = True,
) -> None:
    """Find hard negatives for the queries of a task and write training rows; the same command resumes a killed run.

    reasonembed train mine --data ecare --split train --out ecare.jsonl
    """
    from reasonembed_rag.evaluation import read_task_folder
    from reasonembed_training.data import MiningSettings, mine

    check_output_file(out)
    settings = MiningSettings(
        negatives=negatives,
        depth=depth,
        skip=skip,
        margin=margin,
        reasoning=reasoning.value,
        instruction=instruction,
        keep_given=given,
    )
    task = read_task_folder(data, split=split)
    with progress_of("Encoding", "Mining") as (encoding, mining):
        retriever, identity = _retriever(model, task, settings.instruction, cache=out.parent, on_progress=encoding)
        report = mine(task, retriever, to=out, identity=identity, settings=settings, on_rows=mining)
    summary = (
        f"{report.rows} rows, {report.negatives / report.rows:.1f} negatives per row, {report.without} without any"
    )
    typer.echo(f"{summary}; {report.resumed} rows are from an earlier run" if report.resumed else summary)


def _retriever(
    name: str, task: RetrievalTask, instruction: str | None, *, cache: Path, on_progress: ProgressCallback
) -> tuple[Retriever, str]:
    """Return the retriever of this name, and an identity with all that its scores depend on."""
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.pipeline import build_retriever, parse_retriever

    prompt = instruction or (task.card.instruction if task.card else None)
    retriever = build_retriever(
        name, task.documents, instruction=prompt, cache=cache / ".vectors", progress=on_progress
    )
    parsed = parse_retriever(name)
    if parsed.model is None:
        return retriever, name
    spec = shared_encoder(EncoderSettings(model=parsed.model)).spec
    identity = f"{spec.digest()} {prompt if spec.takes_instruction else None}"
    return retriever, identity if parsed.kind == "model" else f"{parsed.kind} {identity}"
