"""Answers from latent memories (a GRC-style reconstruction) as a LangChain chain, and the backbone as a chat model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from pydantic import ConfigDict, InstanceOf

from reasonembed_rag.documents import Document as StoredDocument
from reasonembed_rag.errors import InputError
from reasonembed_rag.memory import GenerationSettings, LatentEncoder, Memory, MemoryAnswers, MemoryStore

__all__ = ["LatentChatModel", "memory_chain"]

_logger = logging.getLogger(__name__)

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}
_DEFAULTS = GenerationSettings()


class LatentChatModel(BaseChatModel):
    """The decoder of a latent model as a chat model, with its tokenizer's chat template; no adapter acts.

    bind(memories=[...]) puts memories before the messages.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    encoder: InstanceOf[LatentEncoder]
    settings: GenerationSettings = _DEFAULTS

    @property
    def _llm_type(self) -> str:
        return "reasonembed-latent"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.encoder.spec.model, "fingerprint": self.encoder.fingerprint}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = self._stream(messages, stop=stop, run_manager=run_manager, **kwargs)
        text = "".join(str(chunk.text) for chunk in chunks)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        memories: Sequence[Memory] | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if kwargs:
            raise InputError(f"unknown argument {min(kwargs)!r}; want stop or memories")
        prompt = self.encoder.chat_format.prompt([_plain(message) for message in messages])
        known = self.settings
        settings = GenerationSettings(
            max_tokens=known.max_tokens,
            temperature=known.temperature,
            top_p=known.top_p,
            seed=known.seed,
            stop=(*known.stop, *(stop or ())),
        )
        for piece in _or_empty(self.encoder.complete(prompt, memories=memories, settings=settings)):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager is not None:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


def memory_chain(
    retriever: Runnable[str, list[Document]],
    model: LatentEncoder | BaseChatModel,
    memories: MemoryStore | None = None,
    *,
    settings: GenerationSettings | None = None,
) -> Runnable[Any, Any]:
    """Return a chain from a question to {"question", "context", "answer"}, from the memories of what is found.

    It takes a question, or {"question": ...}; the answer streams. Without settings, those of a LatentChatModel, or the
    defaults. With another chat model than a latent one, such as a
    remote LLM, there is nothing that reads memories: its texts are sent instead, and a warning says so. Raises
    SpecMismatchError for memories of another model.
    """
    asked = RunnableLambda(_question) | RunnablePassthrough.assign(context=RunnableLambda(_of_question) | retriever)
    if isinstance(model, LatentChatModel):
        settings = settings or model.settings
        model = model.encoder
    if isinstance(model, LatentEncoder):
        answers = MemoryAnswers(model, memories, settings=settings or _DEFAULTS)
        return asked.assign(answer=_latent(answers))
    _logger.warning(
        "%s reads no latent memories: the documents' texts are sent to it instead; want a LatentEncoder to answer from "
        "memories",
        type(model).__name__,
    )
    return asked.assign(answer=RunnableLambda(_prompt) | model | StrOutputParser())


def _latent(answers: MemoryAnswers) -> Runnable[Any, str]:
    def stream(found: Mapping[str, Any]) -> Iterator[str]:
        documents = [StoredDocument(one.id or "", one.page_content) for one in found["context"]]
        yield from _or_empty(answers.stream(found["question"], documents))

    async def astream(found: Mapping[str, Any]) -> AsyncIterator[str]:
        pieces = stream(found)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    return RunnableLambda(stream, afunc=astream, name="answer from memories")


def _or_empty(pieces: Iterator[str]) -> Iterator[str]:
    """Yield pieces, and "" where there is none: LangChain takes a stream without chunks for a failure."""
    yield next(pieces, "")
    yield from pieces


def _question(given: str | Mapping[str, Any]) -> dict[str, Any]:
    question = given.get("question") if isinstance(given, Mapping) else given
    if not isinstance(question, str) or not question.strip():
        raise InputError(f'got {given!r:.80}; want a question, or {{"question": ...}}')
    return dict(given) if isinstance(given, Mapping) else {"question": question}


def _of_question(asked: Mapping[str, Any]) -> str:
    return str(asked["question"])


def _prompt(found: Mapping[str, Any]) -> str:
    texts = [f"Document {number}:\n{one.page_content}" for number, one in enumerate(found["context"], start=1)]
    return "\n\n".join([*texts, f"Answer from these documents.\nQuestion: {found['question']}"])


def _plain(message: BaseMessage) -> dict[str, str]:
    role = _ROLES.get(message.type)
    if role is None or not isinstance(message.content, str):
        raise InputError(f"got a message of type {message.type!r}; want text by {', '.join(_ROLES)}")
    return {"role": role, "content": message.content}
