"""`reasonembed search`: show the documents of an index that are nearest to a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from reasonembed_cli.filtering import FilterOption, read_filters
from reasonembed_cli.hits import Explanation, explained, explanation_of, format_hits, weak_line
from reasonembed_cli.hybrid import Parts, PlainOption, parts_of, with_bm25
from reasonembed_cli.opened import IndexArgument, note_no_match, note_unfinished, sources_of
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.pipelines import PipelineOption, context_of
from reasonembed_cli.search_options import QueryEncodingOptions, QuestionOptions
from reasonembed_cli.showing import JsonOption, document_record, echo_json, printable
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag import Hits
    from reasonembed_rag.pipeline import PipelineSettings
    from reasonembed_stores import IndexedSources, IndexRetriever

__all__ = ["search_command"]

_LINES = 4
"""Lines of a document's text that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShowingOptions:
    """How hits are shown."""

    panel: ClassVar[str] = "Showing"
    full: Annotated[bool, typer.Option("--full", help="Show whole texts, not their first lines.")] = False
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how the question was encoded, and where each document comes from.")
    ] = False
    as_json: JsonOption = False


@with_options
def search_command(
    index: IndexArgument,
    *,
    questions: QuestionOptions,
    k: Annotated[int, typer.Option("-k", help="How many documents to show.")] = 5,
    filters: FilterOption = None,
    plain: PlainOption = False,
    pipeline: PipelineOption = None,
    encoding: QueryEncodingOptions,
    showing: _ShowingOptions,
) -> None:
    """Show the documents of an index that help answer a question, best first.

    The cosine says how near a document is to the question by the model. Vectors and words are searched, and the score
    orders what they found for this question, from 0 to 1: the best has about 1 even where nothing answers. --plain
    searches vectors alone, by cosine. --pipeline puts stages around either: expansion, reranking.

    reasonembed search docs.index "Why does my list keep growing between calls?"
    """
    from reasonembed_stores import FaissStore, check_k

    check_k(k)
    texts = questions.read()
    stages = None if pipeline is None else _stages(pipeline, explain=showing.explain)
    tree = read_filters(filters)
    retriever = encoding.open(index, tree)
    if not plain:
        retriever = with_bm25(retriever)
    if stages is None:
        found = list(_found(retriever, texts, k=k, explain=showing.explain))
    else:
        found = list(_found_through(stages, retriever, texts, k=k, task=encoding.task))
    store = retriever.store
    typical = store.median_cosine() if isinstance(store, FaissStore) else None
    _show(found, sources_of(index), showing, typical=typical)
    if not any(len(one.hits) for one in found):
        note_no_match(store, tree)
    store.close()
    note_unfinished(index)


@dataclass(frozen=True, slots=True)
class _Found:
    question: str
    hits: Hits
    parts: Sequence[Parts]
    explanation: Explanation | None = None


def _show(found: Sequence[_Found], sources: IndexedSources, showing: _ShowingOptions, *, typical: float | None) -> None:
    """Print the hits of each question; the questions too where there are several."""
    if showing.as_json:
        echo_json(_record(one, sources, typical=typical) for one in found)
        return
    for number, one in enumerate(found):
        if len(found) > 1 or showing.explain:
            typer.echo(f"{chr(10) if number else ''}{printable(one.question)}")
        for line in explained(one.explanation) if one.explanation is not None else ():
            typer.echo(line)
        if weak := weak_line(one.parts, typical):
            typer.secho(weak, fg="yellow")
        if len(one.hits):
            lines = None if showing.full else _LINES
            typer.echo(format_hits(one.hits, one.parts, lines=lines, sources=sources, explain=showing.explain))


def _found(retriever: IndexRetriever, questions: Sequence[str], *, k: int, explain: bool) -> Iterator[_Found]:
    """Yield the hits of each question; to explain them, the questions are encoded one by one."""
    for asked in [[question] for question in questions] if explain else [questions]:
        before = retriever.usage().query_tokens or 0
        vectors = retriever.encode_queries(asked)
        found = retriever.search_hybrid(asked, vectors, k=k)
        for question, vector, one in zip(asked, vectors, found, strict=True):
            why = explanation_of(retriever, question, tokens_before=before) if explain else None
            yield _Found(question, one.hits, parts_of(one, vector, retriever), why)


def _stages(path: Path, *, explain: bool) -> PipelineSettings:
    from reasonembed_rag.pipeline import read_pipeline

    if explain:
        raise InputError("--explain shows one retriever, not stages around it; leave --explain or --pipeline out")
    return read_pipeline(path)


def _found_through(
    settings: PipelineSettings, retriever: IndexRetriever, questions: Sequence[str], *, k: int, task: str | None
) -> Iterator[_Found]:
    """Yield what the pipeline finds for each question."""
    import numpy as np

    from reasonembed_rag import Hits
    from reasonembed_rag.tasks import get_task
    from reasonembed_stores import HybridHits, with_index

    nothing = Hits((), np.zeros(0, np.float32))  # the lists behind a pipeline's hits are not told

    with context_of(settings, card=None if task is None else get_task(task)) as context:
        found = settings.build(retriever, with_index(context, retriever)).search(questions, k=k)
    vectors = retriever.encode_queries(questions)  # as they were asked, not as a stage rewrote them
    for question, vector, hits in zip(questions, vectors, found, strict=True):
        yield _Found(question, hits, parts_of(HybridHits(hits, nothing), vector, retriever))


def _record(found: _Found, sources: IndexedSources, *, typical: float | None) -> dict[str, Any]:
    hits = [
        {"rank": rank, "score": hit.score, **asdict(parts), **document_record(hit.document, sources)}
        for rank, (hit, parts) in enumerate(zip(found.hits, found.parts, strict=True), start=1)
        if hit.document is not None
    ]
    why = {} if found.explanation is None else {"explanation": asdict(found.explanation)}
    return {"question": found.question, **why, "median_cosine_of_documents": typical, "hits": hits}
