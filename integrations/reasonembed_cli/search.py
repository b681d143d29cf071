"""`reasonembed search`: show the documents of an index that are nearest to a question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from reasonembed_cli.filtering import FilterOption, read_filters
from reasonembed_cli.hits import Explanation, explained, explanation_of, format_hits
from reasonembed_cli.hybrid import PlainOption, parts_of, with_bm25
from reasonembed_cli.opened import IndexArgument, note_no_match, note_unfinished, sources_of
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.pipelines import PipelineOption, context_of
from reasonembed_cli.search_options import QueryEncodingOptions, QuestionOptions
from reasonembed_cli.showing import JsonOption, document_record, echo_json, printable
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag import Hits
    from reasonembed_rag.pipeline import PipelineSettings
    from reasonembed_stores import HybridHits, IndexedSources, IndexRetriever

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
    """Show the documents of an index that help answer a question, best first, with their scores.

    Vectors and words are searched, and a score runs from 0 to 1, the best by both; --plain searches vectors alone, and
    scores are cosine similarities. --pipeline puts stages around either: expansion, reranking.

    reasonembed search docs.index "Why does my list keep growing between calls?"
    """
    from reasonembed_stores import check_k

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
    _show(found, sources_of(index), showing)
    if not any(len(one.hits) for one in found):
        note_no_match(retriever.store, tree)
    retriever.store.close()
    note_unfinished(index)


@dataclass(frozen=True, slots=True)
class _Found:
    question: str
    found: HybridHits
    explanation: Explanation | None = None

    @property
    def hits(self) -> Hits:
        return self.found.hits


def _show(found: Sequence[_Found], sources: IndexedSources, showing: _ShowingOptions) -> None:
    """Print the hits of each question; the questions too where there are several."""
    if showing.as_json:
        echo_json(_record(one, sources) for one in found)
        return
    for number, one in enumerate(found):
        if len(found) > 1 or showing.explain:
            typer.echo(f"{chr(10) if number else ''}{printable(one.question)}")
        for line in explained(one.explanation) if one.explanation is not None else ():
            typer.echo(line)
        if len(one.hits):
            parts = parts_of(one.found) if showing.explain else None
            lines = None if showing.full else _LINES
            typer.echo(format_hits(one.hits, lines=lines, sources=sources, parts=parts))


def _found(retriever: IndexRetriever, questions: Sequence[str], *, k: int, explain: bool) -> Iterator[_Found]:
    """Yield the hits of each question; to explain them, the questions are encoded one by one."""
    if not explain:
        yield from map(_Found, questions, retriever.search_hybrid(questions, k=k))
        return
    for question in questions:
        before = retriever.usage().query_tokens or 0
        (hits,) = retriever.search_hybrid([question], k=k)
        yield _Found(question, hits, explanation_of(retriever, question, tokens_before=before))


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
    for question, hits in zip(questions, found, strict=True):
        yield _Found(question, HybridHits(hits, nothing))


def _record(found: _Found, sources: IndexedSources) -> dict[str, Any]:
    hits = [
        {"rank": rank, "score": hit.score, **asdict(parts), **document_record(hit.document, sources)}
        for rank, (hit, parts) in enumerate(zip(found.hits, parts_of(found.found), strict=True), start=1)
        if hit.document is not None
    ]
    why = {} if found.explanation is None else {"explanation": asdict(found.explanation)}
    return {"question": found.question, **why, "hits": hits}
