"""`reasonembed demo`: index, search and evaluate the language reference that comes with Python."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.demo_answers import ask_judged, ask_unjudged
from reasonembed_cli.demo_candidates import list_candidates
from reasonembed_cli.demo_conclusion import DEMO_CUTOFFS, DemoContrast, conclusion, found_table
from reasonembed_cli.demo_frameworks import ask_frameworks, load_chat_model
from reasonembed_cli.demo_questions import demo_examples, gold_ranks
from reasonembed_cli.eval_tables import scores_table
from reasonembed_cli.hybrid import PlainOption
from reasonembed_cli.indexing_progress import indexing_progress
from reasonembed_cli.options import ModelOption
from reasonembed_cli.outputs import check_new_folder
from reasonembed_cli.progress import progress_of
from reasonembed_cli.showing import terminal_width
from reasonembed_rag.backbone import BASE_MODEL, DEFAULT_MODEL
from reasonembed_rag.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from reasonembed_rag.protocols import Retriever
    from reasonembed_stores import IndexRetriever

__all__ = ["demo_command"]

_NEEDED = {
    "langchain_core": "langchain-core",
    "llama_index.core": "llama-index-core",
    "pytrec_eval": "pytrec-eval-terrier",
    "Stemmer": "PyStemmer",
}
"""Distributions by import name."""

_BM25 = "BM25"


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
    test: Annotated[
        bool, typer.Option(help="Measure on the test split as well; leave it out while you still choose a model.")
    ] = True,
    candidates: Annotated[
        bool, typer.Option("--candidates", hidden=True, help="Only list questions that the demo could ask.")
    ] = False,
    plain: PlainOption = False,
    model: ModelOption = DEFAULT_MODEL,
) -> None:
    """Index the Python language reference, search it, and compare the model with its base model and BM25.

    It needs no network: the documents come with Python, the model with this package and that of its base model.

    reasonembed demo --question "Why does my list keep growing between calls?"
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    _require_extras()
    if not all(text.strip() for text in question or ()):
        raise InputError("--question is empty; want a question, or leave the option out")
    answer_model = load_chat_model(chat_model)
    with _index_folder(to) as folder:
        index = _index(folder, model, plain=plain)
        try:
            systems = _systems(index, model)
            if candidates:
                list_candidates(systems)
                return
            first = _ask(index, systems, question)
            ask_frameworks(folder, first, chat_model=answer_model, bm25_weight=index.bm25_weight)
            _conclude(systems, model)
            if test:
                _measure(systems)
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


def _index(folder: Path, model: str, *, plain: bool = False) -> IndexRetriever:
    from reasonembed_rag.encoder import EncoderSettings, collect_truncations, shared_encoder
    from reasonembed_rag.evaluation.python_reference import python_reference_documents
    from reasonembed_stores import BM25_WEIGHT, FaissStore, IndexRetriever, build_index, keep_bm25

    encoder = shared_encoder(EncoderSettings(model=model))
    documents = python_reference_documents()
    _heading(1, f"Index {len(documents)} passages of Python's language reference")
    with collect_truncations() as truncated, indexing_progress() as progress:
        build_index(documents, folder, encoder, on_progress=progress.on_progress, on_message=progress.on_message)
    for length, count in truncated.by_length.items():
        typer.echo(
            f"The model reads {length} tokens of a passage; {count} are longer, and their ends are not searched. "
            "They stay whole because the questions below are judged on them; `reasonembed index` splits your own files."
        )
    for line in truncated.unknown_lines():
        typer.echo(line)
    if not plain:
        keep_bm25(folder)
    return IndexRetriever(FaissStore.open(folder), encoder, bm25_weight=0.0 if plain else BM25_WEIGHT)


def _systems(index: IndexRetriever, model: str) -> dict[str, Retriever]:
    """Return what is compared by name, the index first; the base model's vectors are computed here."""
    from reasonembed_rag import Encoder
    from reasonembed_rag.encoder import collect_truncations
    from reasonembed_rag.evaluation.python_reference import python_reference_documents
    from reasonembed_rag.retrieval import BM25, DenseRetriever

    documents = python_reference_documents()
    systems: dict[str, Retriever] = {model: index}
    if index.bm25_weight:
        systems[_vectors_alone(model)] = index.with_settings()
    if model == DEFAULT_MODEL:
        with progress_of(f"Encoding them with {BASE_MODEL}, to compare") as (on_progress,), collect_truncations():
            base = DenseRetriever(Encoder.from_pretrained(BASE_MODEL), documents, progress=on_progress)
            base.encode()
        systems[BASE_MODEL] = base
    systems[_BM25] = BM25(documents)
    return systems


def _vectors_alone(model: str) -> str:
    return f"{model} --plain"


def _ask(index: IndexRetriever, systems: Mapping[str, Retriever], questions: Sequence[str] | None) -> str:
    """Show what is found for the user's questions, or for the demo's, which are judged; return the first one."""
    from reasonembed_rag.evaluation.python_reference import load_python_reference

    if questions:
        _heading(2, "Ask your questions")
        ask_unjudged(index, questions)
        return questions[0]
    task = load_python_reference("dev")
    examples = demo_examples(task.examples)
    _heading(2, f"Ask {len(examples)} questions, picked from python_reference's dev split (+ marks an answer)")
    ask_judged(systems, examples, documents=len(task.documents))
    return examples[0].query


def _conclude(systems: Mapping[str, Retriever], model: str) -> None:
    from rich.console import Console

    from reasonembed_rag.evaluation.python_reference import load_python_reference

    task = load_python_reference("dev")
    _heading(4, f"Ask all {len(task.examples)} questions of python_reference's dev split")
    with progress_of("Searching") as (on_progress,):
        ranks = gold_ranks(systems, task.examples, k=DEMO_CUTOFFS[-1], progress=on_progress)
    Console().print(found_table(ranks))
    vectors = _vectors_alone(model) if _vectors_alone(model) in systems else model
    contrasts = [
        DemoContrast("Training for reasoning", vectors, BASE_MODEL),
        DemoContrast("Words beside vectors", model, vectors),
        DemoContrast("Instead of counting shared words", model, _BM25),
    ]
    for line in conclusion(ranks, [contrast for contrast in contrasts if contrast.system != contrast.other]):
        typer.echo(f"\n{textwrap.fill(line, width=terminal_width())}")


def _measure(systems: Mapping[str, Retriever]) -> None:
    from rich.console import Console

    from reasonembed_rag.evaluation import RunOptions, System, evaluate
    from reasonembed_rag.evaluation.python_reference import load_python_reference

    task = load_python_reference("test")
    typer.echo(f"\nDev questions were used to choose the model. The {len(task.examples)} test questions never were:\n")
    options = RunOptions(k=100, batch_size=32)
    with progress_of("Searching") as (on_progress,):
        reports = [
            evaluate(retriever, task, system=System(name=name), options=options, progress=on_progress)
            for name, retriever in systems.items()
        ]
    Console().print(scores_table(reports))


def _heading(number: int, text: str) -> None:
    typer.secho(f"\n[{number}/4] {text}", bold=True)
