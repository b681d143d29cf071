"""What the stages of a pipeline's file are built with, and what every kind of them has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from reasonembed_rag.errors import InputError
from reasonembed_rag.files import plain_record
from reasonembed_rag.llm import ChatAccess
from reasonembed_rag.pipeline.reranked import DocumentLookup
from reasonembed_rag.protocols import Retriever
from reasonembed_rag.tasks import DEFAULT_CARD, TaskCard

__all__ = ["StageContext", "StageSettings", "stage_record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """What stages are built with."""

    documents: DocumentLookup | None = None
    """The documents of a retriever whose hits are without."""
    queries: Mapping[str, str] | None = None
    """The queries by their ids, for recordings by id."""
    card: TaskCard = DEFAULT_CARD
    chat: ChatAccess | None = None
    corpus_size: int | None = None
    """The number of documents of the retriever."""
    retrievers: Callable[[str], Retriever] | None = None
    """Opens a retriever over the same documents by its name, for arms of a router that search otherwise."""
    router: Path | None = None
    """The file of a router whose stage names none."""

    def opened(self, name: str, *, stage: str) -> Retriever:
        """Return a retriever over the same documents; raises InputError, naming the stage, where none can be opened."""
        if self.retrievers is None:
            raise InputError(
                f"the {stage} wants the retriever {name!r}; want StageContext(retrievers=...), which opens it"
            )
        return self.retrievers(name)

    def chat_for(self, kind: str) -> ChatAccess:
        """Return the chat model; raises InputError, naming the stage, where there is none."""
        if self.chat is None:
            raise InputError(f'the stage "{kind}" asks a chat model; want a table [chat] with its name')
        return self.chat


class StageSettings(Protocol):
    """One [[stage]] table."""

    kind: ClassVar[str]

    @property
    def asks_chat(self) -> bool:
        """Whether it needs the chat model."""

    def around(self, context: StageContext) -> Callable[[Retriever], Retriever]:
        """Return what puts the stage around a retriever; models are loaded here. Raises InputError and ModelError."""


def stage_record(stage: StageSettings) -> dict[str, Any]:
    """Return a stage as what JSON can hold, every default written out; stages within a router's arms too."""
    record = {"kind": stage.kind, **plain_record(stage)}
    arms = getattr(stage, "arms", ())
    if arms:
        record["arms"] = [
            {**plain_record(arm), "stages": [stage_record(inner) for inner in arm.stages]} for arm in arms
        ]
    return record
