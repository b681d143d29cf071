"""Evaluate a retriever or an embedder on a task."""

from __future__ import annotations

from pathlib import Path

from reasonembed_rag.encoder import EncodingProgress
from reasonembed_rag.evaluation.report import Report, System
from reasonembed_rag.evaluation.run import RunOptions, RunProgress, run_retriever
from reasonembed_rag.evaluation.scoring import score_run
from reasonembed_rag.evaluation.task import RetrievalTask
from reasonembed_rag.protocols import Embedder, Retriever
from reasonembed_rag.retrieval import DenseRetriever

__all__ = ["evaluate", "evaluate_embedder"]


def evaluate(
    retriever: Retriever | Embedder,
    task: RetrievalTask,
    *,
    system: System | str | None = None,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
    command: str | None = None,
) -> Report:
    """Run every query of a task through a retriever and return the report; raises as run_retriever and score_run do.

    `system` describes the retriever in the report: a System, a name, or by default the name of its class. An embedder
    is evaluated as evaluate_embedder does, and describes itself. A task without gold ids is refused before the first
    query.
    """
    task.check_judged()
    if isinstance(retriever, Embedder) and not isinstance(retriever, Retriever):
        dense = _dense_retriever(retriever, task)
        system = system if system is not None else _system_of(retriever, dense)
        retriever = dense
    if not isinstance(system, System):
        system = System(name=system or type(retriever).__name__)
    run = run_retriever(retriever, task, options=options, progress=progress)
    return score_run(run, task, system=system, command=command)


def evaluate_embedder(
    embedder: Embedder,
    task: RetrievalTask,
    *,
    options: RunOptions | None = None,
    progress: RunProgress | None = None,
    encoding_progress: EncodingProgress | None = None,
    cache: Path | None = None,
    command: str | None = None,
) -> Report:
    """Encode the task's documents, search them exactly, and return the report.

    Queries get the instruction of the task's card if there is a card and the model takes instructions. The documents'
    vectors are stored in the cache folder, if one is given, and an interrupted encoding is resumed from there.
    """
    task.check_judged()
    retriever = _dense_retriever(embedder, task, cache=cache, progress=encoding_progress)
    system = _system_of(embedder, retriever)
    return evaluate(retriever, task, system=system, options=options, progress=progress, command=command)


def _dense_retriever(
    embedder: Embedder, task: RetrievalTask, *, cache: Path | None = None, progress: EncodingProgress | None = None
) -> DenseRetriever:
    """Return an exact search over the task's documents, encoded."""
    instruction = task.card.instruction if task.card else None
    retriever = DenseRetriever(embedder, task.documents, instruction=instruction, cache=cache, progress=progress)
    retriever.encode()
    return retriever


def _system_of(embedder: Embedder, retriever: DenseRetriever) -> System:
    return System(name=embedder.spec.model, spec=embedder.spec, settings={"instruction": retriever.instruction})
