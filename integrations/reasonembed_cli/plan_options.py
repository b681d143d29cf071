"""The options of `reasonembed plan-pipeline`: the corpus, what a query may take, and a chat model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from reasonembed_cli.hybrid import with_bm25
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag.llm import ChatModelSettings

__all__ = ["ChatOptions", "CorpusOptions", "PlanOptions"]

_QUERIES, _WORDS = 16, 20
"""Queries that the retriever is measured with: the first words of so many documents."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TIME = "Time"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusOptions:
    """What is searched: an index, which is measured, or what is known of a corpus."""

    index: Annotated[
        Path | None,
        typer.Option("--index", help="The index that is searched; its size and time are measured.", show_default=False),
    ] = None
    documents: Annotated[
        int | None, typer.Option(help="Documents of the corpus, where there is no index yet.", show_default=False)
    ] = None
    model: Annotated[str | None, typer.Option("--model", "-m", help="Where the index's model is now, if it moved.")] = (
        None
    )
    retriever_ms: Annotated[
        float | None,
        typer.Option(metavar="MS", help="What the retriever takes of them, without --index.", rich_help_panel=_TIME),
    ] = None

    def measure(self) -> tuple[int, float | None]:
        """Return the number of documents and the seconds of a query; raises InputError for an index without texts."""
        if (self.index is None) == (self.documents is None):
            raise InputError("want --index FOLDER or --documents N, one of them")
        if self.index is None:
            if self.model is not None:
                raise InputError("--model is about the index's model; give --index with it")
            return self.documents or 0, _seconds("--retriever-ms", self.retriever_ms)
        if self.retriever_ms is not None:
            raise InputError("--retriever-ms is measured with --index; leave it out")
        from reasonembed_stores import IndexModel, IndexRetriever, open_store

        with closing(open_store(self.index)) as store:
            size = len(store)
            texts = (document.content for document in store.documents())
            worded = list(islice((text for text in texts if any(map(str.isalnum, text))), _QUERIES))
        if not worded:
            found = "no documents" if not size else "documents without texts, which expansion and rerankers read"
            raise InputError(
                f"{self.index} has {found}; want an index of texts: reasonembed index FILES --to {self.index}"
            )
        retriever = IndexRetriever(self.index, IndexModel(model=self.model))
        with closing(retriever.store):
            return size, _median_seconds(with_bm25(retriever), worded)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What is asked, how long it may take, and what may rerank."""

    questions: Annotated[
        str,
        typer.Option(help="Their kind: explanations, documentation, mathematics, coding-problems or unknown."),
    ] = "unknown"
    reranker: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A late-interaction model, for plans without a chat model."),
    ] = None
    latency: Annotated[
        float | None,
        typer.Option(metavar="MS", help="Milliseconds that a query may take.", rich_help_panel=_TIME),
    ] = None
    pair_ms: Annotated[
        float,
        typer.Option(metavar="MS", help="What the reranker takes for a document.", rich_help_panel=_TIME),
    ] = 300.0

    def fields(self) -> dict[str, Any]:
        """Return the fields of a PlanRequest; raises InputError for a time that is none and an unknown reranker."""
        return {
            "questions": self.questions,
            "pair_seconds": _seconds("--pair-ms", self.pair_ms),
            "seconds": _seconds("--latency", self.latency),
            **({} if self.reranker is None else {"reranker": _known(self.reranker)}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """The chat model that stages ask."""

    panel: ClassVar[str] = "A chat model"
    chat: Annotated[str | None, typer.Option(metavar="MODEL", help="Its name, such as openai:gpt-4o-mini.")] = None
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Its OpenAI-compatible server.")] = None
    tokens_per_second: Annotated[float, typer.Option(help="What it writes for one query.")] = 50.0
    input_price: Annotated[float | None, typer.Option(help="Its price per million tokens read.")] = None
    output_price: Annotated[float | None, typer.Option(help="Its price per million tokens written.")] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a PlanRequest; the model is not asked."""
        return {"chat": self._settings(), "tokens_per_second": self.tokens_per_second}

    def _settings(self) -> ChatModelSettings | None:
        from reasonembed_rag.llm import ChatModelSettings

        if self.chat is None:
            if (self.base_url, self.input_price, self.output_price) != (None, None, None):
                raise InputError(
                    "--base-url, --input-price and --output-price are about a chat model; name it with --chat"
                )
            return None
        return ChatModelSettings(
            name=self.chat, base_url=self.base_url, input_price=self.input_price, output_price=self.output_price
        )


def _seconds(option: str, milliseconds: float | None) -> float | None:
    if milliseconds is None:
        return None
    if not 0.0 < milliseconds < math.inf:
        raise InputError(f"{option} is {milliseconds:g}; want milliseconds above 0")
    return milliseconds / 1000


def _known(model: str) -> str:
    if Path(model).is_dir() or (_HUB_ID.fullmatch(model) and not Path(model).exists()):
        return model
    raise InputError(f"--reranker is {model!r}; want a folder that is there, or the hub id of a model: owner/name")


def _median_seconds(retriever: Any, texts: Sequence[str]) -> float:
    """Return the median time of a query, of the first words of some texts."""
    import statistics
    import time

    queries = [" ".join(text.split()[:_WORDS]) for text in texts]
    retriever.search(queries[:1], k=10)  # what only the first one takes
    taken = []
    for query in queries:
        start = time.perf_counter()
        retriever.search([query], k=10)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
