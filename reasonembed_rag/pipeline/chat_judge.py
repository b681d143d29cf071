"""What rerankers that ask a chat model share: prompts that show documents, and one job for each query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Generic, TypeVar

from reasonembed_rag.hits import Hits
from reasonembed_rag.llm import Answer, ChatAccess, ChatStage, ReadAnswer, StageRequest
from reasonembed_rag.pipeline.asks_chat import AsksChat
from reasonembed_rag.pipeline.judge_prompts import card_of
from reasonembed_rag.pipeline.prompt_writer import PromptKind, PromptWriter, WrittenPrompt
from reasonembed_rag.pipeline.reranked import with_texts
from reasonembed_rag.tasks import TaskCard

__all__ = ["ChatJudge"]

T = TypeVar("T")


class ChatJudge(AsksChat, ABC, Generic[T]):
    """Rerank by what a chat model says of some documents at a time; T is what an answer holds."""

    _name: ClassVar[str]
    """The name of the stage that asks."""

    def __init__(
        self,
        access: ChatAccess,
        prompt: PromptKind,
        *,
        task: str | TaskCard | None,
        documents: int,
        words: int | None = None,
    ) -> None:
        """Raise InputError for a context too small for a prompt of so many documents."""
        super().__init__(ChatStage(access, name=self._name))
        tokens = self._stage.prompt_tokens
        self._writer = PromptWriter(prompt, card_of(task), tokens, documents=documents, words=words)

    def rerank(self, queries: Sequence[str], hits: Sequence[Hits], *, k: int | None = None) -> list[Hits]:
        """Return the same hits of each query, best first; the first k, or all.

        A query for which no answer could be read keeps its hits as they are. Raises InputError for hits without
        documents, before any call; ChatError and StoreError as ChatStage.ask does.
        """
        reranked = self._reranked(queries, [with_texts(one, None) for one in hits])
        return [one[:k] for one in reranked]

    @abstractmethod
    def _reranked(self, queries: Sequence[str], hits: Sequence[Hits]) -> Sequence[Hits]:
        """Rerank hits with documents."""

    @abstractmethod
    def _read(self, answer: Answer, *, prompt: WrittenPrompt) -> ReadAnswer[T]:
        """Return what an answer says of the documents of its prompt."""

    def _request(self, query: str, hits: Hits, shown: Sequence[int], *, sample: int = 0) -> StageRequest[T]:
        """Return the request to judge the hits at these positions."""
        texts = [document.content for document in hits.take(shown).documents or ()]
        return self._writer.request(
            self._stage, query, texts, read=lambda prompt: partial(self._read, prompt=prompt), sample=sample
        )
