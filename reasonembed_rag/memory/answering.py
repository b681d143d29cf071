"""Answers from the memories of documents that were found: stored ones, and where there is none, made now."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from reasonembed_rag.memory.generation import GenerationSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reasonembed_rag.documents import Document
    from reasonembed_rag.memory.encoder import LatentEncoder
    from reasonembed_rag.memory.memories import Memory
    from reasonembed_rag.memory.store import MemoryStore

__all__ = ["MemoryAnswers"]

_logger = logging.getLogger(__name__)

_DEFAULTS = GenerationSettings()


class MemoryAnswers:
    """Answer questions from documents by their memories.

    With a store its memories are taken; documents that it lacks, or holds with another content, are compressed for the
    answer, counted in `compressed`, and a warning says so once.
    """

    def __init__(
        self, encoder: LatentEncoder, store: MemoryStore | None = None, *, settings: GenerationSettings = _DEFAULTS
    ) -> None:
        """Answer with an encoder and its store; raises SpecMismatchError for a store of another model."""
        if store is not None:
            store.check(encoder)
        self.encoder, self.store, self.settings = encoder, store, settings
        self.compressed = 0
        """Documents of which the store had no memory so far."""

    def memories_of(self, documents: Sequence[Document]) -> list[Memory]:
        """Return the memory of each document, in their order."""
        stored = self.store.get(documents) if self.store is not None else [None] * len(documents)
        missing = [number for number, memory in enumerate(stored) if memory is None]
        made = self.encoder.compress([documents[number].content for number in missing])
        if self.store is not None and missing:
            self.compressed += len(missing)
            if self.compressed == len(missing):
                _logger.warning(
                    "%d of %d documents have no memory of their content in %s and were compressed now, as later ones "
                    "will be; run `reasonembed memory build` again",
                    len(missing),
                    len(documents),
                    self.store.folder,
                )
        by_number = dict(zip(missing, made, strict=True))
        return [memory if memory is not None else by_number[number] for number, memory in enumerate(stored)]

    def stream(self, question: str, documents: Sequence[Document]) -> Iterator[str]:
        """Yield the answer in pieces; without documents it is the model's own."""
        memories = self.memories_of(documents) if documents else None
        return self.encoder.stream(question, memories=memories, settings=self.settings)

    def answer(self, question: str, documents: Sequence[Document]) -> str:
        """Return the answer."""
        return "".join(self.stream(question, documents))
