"""`--pipeline`: the stages of a TOML file around the retriever of a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.chat_models import open_chat_settings

if TYPE_CHECKING:
    from reasonembed_rag.evaluation import RetrievalTask
    from reasonembed_rag.pipeline import PipelineSettings, StageContext
    from reasonembed_rag.protocols import Retriever
    from reasonembed_rag.tasks import TaskCard

__all__ = ["PipelineOption", "context_of", "task_context"]

PipelineOption = Annotated[
    Path | None, typer.Option("--pipeline", metavar="FILE", help="Stages around the retriever: a TOML file.")
]


@contextmanager
def context_of(
    settings: PipelineSettings,
    *,
    card: TaskCard | None = None,
    queries: Mapping[str, str] | None = None,
) -> Iterator[StageContext]:
    """Open what the stages need: the chat model and the file of its answers, closed afterwards.

    Raises InputError for a chat model that cannot be opened, StoreError for a file of answers that cannot be.
    """
    from reasonembed_rag.llm import ChatAccess, ResponseCache
    from reasonembed_rag.pipeline import StageContext
    from reasonembed_rag.tasks import DEFAULT_CARD

    with ExitStack() as stack:
        chat = None
        if settings.asks_chat and settings.chat is not None:
            answers = settings.answers
            cache = None if answers is None else stack.enter_context(ResponseCache.open(answers))
            chat = ChatAccess(
                chat=open_chat_settings(settings.chat), model=settings.chat, calls=settings.calls, cache=cache
            )
        yield StageContext(queries=queries, card=card or DEFAULT_CARD, chat=chat)


@contextmanager
def task_context(
    settings: PipelineSettings, task: RetrievalTask, *, retrievers: Callable[[str], Retriever] | None = None
) -> Iterator[StageContext]:
    """Open what the stages need on a task: its card, its queries by id, its documents, other retrievers of them."""
    from dataclasses import replace

    queries = {example.id: example.query for example in task.examples}
    with context_of(settings, card=task.card, queries=queries) as context:
        documents = {document.id: document for document in task.documents}
        yield replace(context, documents=documents, corpus_size=len(task.documents), retrievers=retrievers)
