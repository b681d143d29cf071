"""`reasonembed mine`: training rows with hard negatives from a folder of judged questions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.outputs import check_output_file
from reasonembed_cli.progress import progress_of

if TYPE_CHECKING:
    from reasonembed_cli.progress import Tell
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_rag.protocols import Retriever

__all__ = ["mine_command"]


class _Reasoning(StrEnum):
    APPEND = "append"
    REPLACE = "replace"
    NONE = "none"


def mine_command(  # noqa: PLR0913 - each is an option of the command
    *,
    data: Annotated[Path, typer.Option(help="A folder of documents.jsonl and examples[.split].jsonl.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The training rows to write, JSON Lines.")],
    split: Annotated[
        str | None, typer.Option(help="Which examples.<split>.jsonl to take; examples.jsonl without.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="The retriever: bm25, bm25-query-side, a model folder, a Hugging Face id, 'default' or hybrid:MODEL.",
        ),
    ] = "default",
    negatives: Annotated[int, typer.Option(help="Negatives kept a query.")] = 15,
    depth: Annotated[int, typer.Option(help="Documents looked at a query.")] = 100,
    skip: Annotated[int, typer.Option(help="Documents passed over at the top.")] = 0,
    margin: Annotated[
        float | None,
        typer.Option(help="Pass over documents that do not score this much below the query's best positive."),
    ] = None,
    reasoning: Annotated[
        _Reasoning, typer.Option(help="How an example's reasoning makes its reasoning query.")
    ] = _Reasoning.APPEND,
    instruction: Annotated[str | None, typer.Option(help="The rows' prompt; the task card's without.")] = None,
    given: Annotated[bool, typer.Option(help="Put the examples' own hard_negative_ids first.")] = True,
) -> None:
    """Find hard negatives for the questions of a task and write training rows.

    reasonembed mine --data ecare --split train --out ecare.jsonl; the same command goes on where a killed one was.
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
        retriever, identity = _retriever(model, task, settings.instruction, cache=out.parent, tell=encoding)
        report = mine(task, retriever, to=out, identity=identity, settings=settings, on_rows=mining)
    told = f"{report.rows} rows, {report.negatives / report.rows:.1f} negatives a row, {report.without} without any"
    typer.echo(f"{told}; {report.resumed} rows were there already" if report.resumed else told)


def _retriever(
    name: str, task: RetrievalTask, instruction: str | None, *, cache: Path, tell: Tell
) -> tuple[Retriever, str]:
    """Return the retriever of this name, and an identity with all that its scores depend on."""
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.pipeline import build_retriever, parse_retriever

    wanted = instruction or (task.card.instruction if task.card else None)
    retriever = build_retriever(name, task.documents, instruction=wanted, cache=cache / ".vectors", progress=tell)
    parsed = parse_retriever(name)
    if parsed.model is None:
        return retriever, name
    spec = shared_encoder(EncoderSettings(model=parsed.model)).spec
    identity = f"{spec.digest()} {wanted if spec.takes_instruction else None}"
    return retriever, identity if parsed.kind == "model" else f"{parsed.kind} {identity}"
