"""`reasonembed demo`: index, search and evaluate the language reference that comes with Python."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.demo_frameworks import ask_frameworks, load_chat_model
from reasonembed_cli.eval_tables import scores_table
from reasonembed_cli.hits import format_hits
from reasonembed_cli.indexing_progress import indexing_progress
from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_new_folder
from reasonembed_cli.progress import progress_of
from reasonembed_rag.backbone import BASE_MODEL, DEFAULT_MODEL
from reasonembed_rag.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import Report
    from reasonembed_rag.protocols import Retriever
    from reasonembed_stores import IndexRetriever

__all__ = ["demo_command"]

QUESTIONS = (
    "Why does my list keep growing between calls?",
    "I walk over a list and remove what I don't want as I go. Why does every second unwanted element survive?",
    "Why does my script print the same set of words in another order every time I start it?",
)
"""Only shown, not measured: each is a short version of a question of the dev split."""

_NEEDED = {
    "langchain_core": "langchain-core",
    "llama_index.core": "llama-index-core",
    "pytrec_eval": "pytrec-eval-terrier",
    "Stemmer": "PyStemmer",
}
"""Distributions by import name."""


def demo_command(
    *,
    question: Annotated[
        list[str] | None, typer.Option("--question", "-q", help="Ask this question instead (repeatable).")
    ] = None,
    chat_model: Annotated[
        str | None, typer.Option(help="A chat model that answers, such as openai:gpt-4o-mini (needs langchain).")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Keep the index in this new folder, to search it later.")
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
) -> None:
    """Index the Python language reference, search it, and compare the model with its base model and BM25.

    It needs no network: the documents come with Python, the model with this package and that of its base model.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    _require_extras()
    questions = question or QUESTIONS
    if not all(text.strip() for text in questions):
        raise InputError("--question is empty; want a question, or leave the option out")
    answer_model = load_chat_model(chat_model)
    with _index_folder(to) as folder:
        index = _index(folder, model)
        try:
            _ask(index, questions)
            ask_frameworks(folder, questions[0], chat_model=answer_model)
            _measure(index, model)
        finally:
            index.store.close()
    if to is not None:
        typer.echo(f'\nThe index is kept: reasonembed search {to} "your question"')


def _require_extras() -> None:
    """Raise MissingDependencyError, before any work, if a step of the demo could not run."""
    missing = [package for name, package in _NEEDED.items() if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(", ".join(missing), "all")


@contextmanager
def _index_folder(to: Path | None) -> Iterator[Path]:
    """Yield the given new folder, or a temporary one."""
    if to is not None:
        check_new_folder(to)
        yield to
        return
    with tempfile.TemporaryDirectory(prefix="reasonembed-demo-") as folder:
        yield Path(folder) / "index"


def _index(folder: Path, model: str) -> IndexRetriever:
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_rag.evaluation.python_reference import python_reference_documents
    from reasonembed_stores import FaissStore, IndexRetriever, build_index

    encoder = shared_encoder(EncoderSettings(model=model))
    documents = python_reference_documents()
    _heading(1, f"Index {len(documents)} passages of Python's language reference")
    with indexing_progress() as progress:
        build_index(documents, folder, encoder, on_progress=progress.on_progress, on_message=progress.on_message)
    return IndexRetriever(FaissStore.open(folder), encoder)


def _ask(index: IndexRetriever, questions: Sequence[str]) -> None:
    _heading(2, "Ask questions that share few words with their answers")
    for question in questions:
        (hits,) = index.search([question], k=3)
        typer.echo(f"\n{question}\n{format_hits(hits, lines=3)}")


def _measure(index: IndexRetriever, model: str) -> None:
    from rich.console import Console

    from reasonembed_rag import Encoder
    from reasonembed_rag.evaluation import RunOptions, System, evaluate
    from reasonembed_rag.evaluation.python_reference import load_python_reference
    from reasonembed_rag.retrieval import BM25, DenseRetriever

    task = load_python_reference("test")
    _heading(
        4, f"Measure on python_reference: {len(task.examples)} questions with gold passages, never used for tuning"
    )
    systems: dict[str, Retriever] = {f"model: {model}": index}
    if model == DEFAULT_MODEL:
        base = Encoder.from_pretrained(BASE_MODEL)
        systems[f"model: {BASE_MODEL}"] = DenseRetriever(base, task.documents)
    systems["BM25"] = BM25(task.documents)
    options = RunOptions(k=100, batch_size=32)
    reports: list[Report] = []
    with progress_of("Searching") as (on_progress,):
        for name, retriever in systems.items():
            reports.append(evaluate(retriever, task, system=System(name=name), options=options, progress=on_progress))
    Console().print(scores_table(reports))


def _heading(number: int, text: str) -> None:
    typer.secho(f"\n[{number}/4] {text}", bold=True)
