"""From a retriever and a task to a report."""

from __future__ import annotations

from pathlib import Path

from reasonembed_rag.encoder import EncodingProgress
from reasonembed_rag.evaluation.report import Report, System
from reasonembed_rag.evaluation.run import Progress, RunOptions, run_retriever
from reasonembed_rag.evaluation.scoring import score_run
from reasonembed_rag.evaluation.task import RetrievalTask
from reasonembed_rag.protocols import Embedder, Retriever
from reasonembed_rag.retrieval import DenseRetriever

__all__ = ["evaluate", "evaluate_embedder"]


def evaluate(
    retriever: Retriever,
    task: RetrievalTask,
    *,
    system: System,
    options: RunOptions | None = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Report:
    """Ask a retriever every query of a task and return the report; raises as run_retriever and score_run do.

    A task without any gold is refused before the first query.
    """
    task.check_judged()
    run = run_retriever(retriever, task, options=options, progress=progress)
    return score_run(run, task, system=system, command=command)


def evaluate_embedder(
    embedder: Embedder,
    task: RetrievalTask,
    *,
    options: RunOptions | None = None,
    progress: Progress | None = None,
    encoding_progress: EncodingProgress | None = None,
    cache: Path | None = None,
    command: str | None = None,
) -> Report:
    """Encode the task's documents, search them exactly, and return the report.

    Queries get the instruction of the task's card where the task has one and the model takes one. With a cache folder
    the documents' vectors are kept there, and an interrupted encoding goes on where it was.
    """
    task.check_judged()
    instruction = task.card.instruction if task.card else None
    retriever = DenseRetriever(
        embedder, task.documents, instruction=instruction, cache=cache, progress=encoding_progress
    )
    retriever.encode()
    system = System(name=embedder.spec.model, spec=embedder.spec, settings={"instruction": retriever.instruction})
    return evaluate(retriever, task, system=system, options=options, progress=progress, command=command)
