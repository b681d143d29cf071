"""The options of `reasonembed search`: the questions, and what encodes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from reasonembed_cli.options import InstructionOption, TaskCardOption
from reasonembed_rag.errors import InputError, ModelError

if TYPE_CHECKING:
    from reasonembed_stores import FilterLike, IndexRetriever

__all__ = ["QueryEncodingOptions", "QuestionOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOptions:
    """Questions, from the arguments and from a file."""

    question: Annotated[
        list[str] | None, typer.Argument(metavar="[QUESTION...]", help="The question, in quotes; or several.")
    ] = None
    queries: Annotated[
        Path | None, typer.Option("--queries", metavar="FILE", help="Read questions, one per line; - is stdin.")
    ] = None

    def read(self) -> list[str]:
        """Return the questions; raises InputError for none, and for one without quotes."""
        return _questions(self.question or [], self.queries)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryEncodingOptions:
    """How questions are encoded."""

    panel: ClassVar[str] = "Encoding the question"
    task: TaskCardOption = None
    instruction: InstructionOption = None
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Where the model is now, if it moved since the index was created."),
    ] = None
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A server of the index's model, as http://localhost:8000/v1; --model is then its name there. "
            "$REASONEMBED_API_KEY is its key.",
        ),
    ] = None

    def open(self, index: Path, filters: FilterLike | None) -> IndexRetriever:
        """Open an index; a ModelError says that its model may be elsewhere now."""
        from reasonembed_stores import IndexModel, IndexRetriever

        key = os.environ.get("REASONEMBED_API_KEY") if self.server is not None else None
        encoder = IndexModel(model=self.model, base_url=self.server, api_key=key)
        retriever = IndexRetriever(index, encoder, task=self.task, instruction=self.instruction, filters=filters)
        try:
            _ = retriever.store
        except ModelError as error:
            if self.model is not None:
                raise
            raise ModelError(
                f"{error}; it is the model of {index}: if it moved, name its place with --model"
            ) from error
        return retriever


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
