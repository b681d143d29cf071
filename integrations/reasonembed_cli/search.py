"""`reasonembed search`: show the documents of an index that are nearest to a question."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reasonembed_cli.filtering import FilterOption, read_filters
from reasonembed_cli.hits import Explanation, explained, explanation_of, format_hits
from reasonembed_cli.hybrid import PlainOption, parts_of, with_bm25
from reasonembed_cli.opened import IndexArgument, note_no_match, note_unfinished, sources_of
from reasonembed_cli.options import InstructionOption, TaskCardOption
from reasonembed_cli.pipelines import PipelineOption, context_of
from reasonembed_cli.showing import JsonOption, document_record, echo_json, printable
from reasonembed_rag.errors import InputError, ModelError

if TYPE_CHECKING:
    from reasonembed_rag import Hits
    from reasonembed_rag.pipeline import PipelineSettings
    from reasonembed_stores import HybridHits, IndexedSources, IndexRetriever

__all__ = ["search_command"]

_LINES = 4
"""Lines of a document's text that are shown."""


def search_command(  # noqa: PLR0913 - each is an option of the command
    index: IndexArgument,
    question: Annotated[
        list[str] | None, typer.Argument(metavar="[QUESTION...]", help="The question, in quotes; or several.")
    ] = None,
    *,
    queries: Annotated[
        Path | None, typer.Option("--queries", metavar="FILE", help="Read questions, one per line; - is stdin.")
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many documents to show.")] = 5,
    filters: FilterOption = None,
    full: Annotated[bool, typer.Option("--full", help="Show whole texts, not their first lines.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show how the question was encoded, and where each document comes from.")
    ] = False,
    plain: PlainOption = False,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
    task: TaskCardOption = None,
    instruction: InstructionOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Where the model is now, if it moved since the index was created."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A server of the index's model, as http://localhost:8000/v1; --model is then its name there. "
            "$REASONEMBED_API_KEY is its key.",
        ),
    ] = None,
) -> None:
    """Show the documents of an index that help answer a question, best first, with their scores.

    Vectors and words are searched, and a score runs from 0 to 1, the best by both; --plain searches vectors alone, and
    scores are cosine similarities. --pipeline puts stages around either: expansion, reranking.

    reasonembed search docs.index "Why does my list keep growing between calls?"
    """
    from reasonembed_stores import IndexModel, IndexRetriever, check_k

    check_k(k)
    questions = _questions(question or [], queries)
    stages = None if pipeline is None else _stages(pipeline, explain=explain)
    tree = read_filters(filters)
    key = os.environ.get("REASONEMBED_API_KEY") if server is not None else None
    encoder = IndexModel(model=model, base_url=server, api_key=key)
    retriever = IndexRetriever(index, encoder, task=task, instruction=instruction, filters=tree)
    _open(retriever, index=index, is_named=model is not None)
    if not plain:
        retriever = with_bm25(retriever)
    if stages is None:
        found = list(_found(retriever, questions, k=k, explain=explain))
    else:
        found = list(_found_through(stages, retriever, questions, k=k, task=task))
    sources = sources_of(index)
    if as_json:
        echo_json(_record(one, sources) for one in found)
    else:
        for number, one in enumerate(found):
            if len(found) > 1 or explain:
                typer.echo(f"{chr(10) if number else ''}{printable(one.question)}")
            for line in explained(one.explanation) if one.explanation is not None else ():
                typer.echo(line)
            if len(one.hits):
                parts = parts_of(one.found) if explain else None
                typer.echo(format_hits(one.hits, lines=None if full else _LINES, sources=sources, parts=parts))
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


def _questions(texts: Sequence[str], file: Path | None) -> list[str]:
    """Return the questions of the arguments and of a file; raises InputError for none, and for one without quotes."""
    if len(texts) > 2 and not any(len(text.split()) > 1 for text in texts):
        raise InputError(
            f'got {len(texts)} questions of one word each; put a question in quotes: "{" ".join(texts)}" '
            "(or, if they are questions, one per line into a file for --queries)"
        )
    questions = [*texts, *(_lines_of(file) if file is not None else ())]
    if not questions:
        raise InputError("got no question; want one in quotes, or --queries FILE with one per line")
    if not all(text.strip() for text in questions):
        raise InputError("the question is empty; want words, in quotes")
    return questions


def _lines_of(file: Path) -> list[str]:
    from reasonembed_rag.files import decode_lines

    if str(file) == "-":
        lines = list(decode_lines(sys.stdin.buffer, name="stdin"))
    else:
        with file.open("rb") as stream:
            lines = list(decode_lines(stream, name=str(file)))
    return [line.strip() for _, line in lines if line.strip()]


def _open(retriever: IndexRetriever, *, index: Path, is_named: bool) -> None:
    """Open the index and load its model; a ModelError says that the model may be elsewhere now."""
    try:
        _ = retriever.store
    except ModelError as error:
        if is_named:
            raise
        raise ModelError(f"{error}; it is the model of {index}: if it moved, name its place with --model") from error


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
