"""Answers from latent memories (a GRC-style reconstruction) as a LlamaIndex query engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator, Sequence

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import LLM
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

from reasonembed_rag.documents import Document
from reasonembed_rag.memory import GenerationSettings, LatentEncoder, MemoryAnswers, MemoryStore

__all__ = ["MemoryQueryEngine"]

_logger = logging.getLogger(__name__)

_DEFAULTS = GenerationSettings()


class MemoryQueryEngine(BaseQueryEngine):
    """Find nodes with any retriever, and answer from their memories; the nodes are the response's sources."""

    def __init__(
        self,
        retriever: BaseRetriever,
        model: LatentEncoder | LLM,
        memories: MemoryStore | None = None,
        *,
        settings: GenerationSettings = _DEFAULTS,
        streaming: bool = False,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        """Answer with a latent model; with streaming, responses are StreamingResponse or AsyncStreamingResponse.

        An LLM of LlamaIndex's, such as a remote one, reads no memories: it is sent the texts instead, and a warning
        says so. Raises SpecMismatchError for memories of another model.
        """
        super().__init__(callback_manager=callback_manager or retriever.callback_manager)
        self._retriever, self._streaming = retriever, streaming
        self._answers: MemoryAnswers | None = None
        if isinstance(model, LatentEncoder):
            self._answers = MemoryAnswers(model, memories, settings=settings)
            return
        self._synthesizer = get_response_synthesizer(llm=model, streaming=streaming)
        _logger.warning(
            "%s reads no latent memories: the nodes' texts are sent to it instead; want a LatentEncoder to answer from "
            "memories",
            type(model).__name__,
        )

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the nodes that an answer would be given from."""
        return self._retriever.retrieve(query_bundle)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._response(query_bundle, self._retriever.retrieve(query_bundle))

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        nodes = await self._retriever.aretrieve(query_bundle)
        if self._answers is None:
            return await self._synthesizer.asynthesize(query_bundle, nodes)
        if not self._streaming:
            return await asyncio.to_thread(self._response, query_bundle, nodes)
        pieces = await asyncio.to_thread(self._pieces, self._answers, query_bundle, nodes)

        async def later() -> AsyncGenerator[str, None]:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece

        return AsyncStreamingResponse(later(), source_nodes=list(nodes))

    def _response(self, query_bundle: QueryBundle, nodes: Sequence[NodeWithScore]) -> RESPONSE_TYPE:
        if self._answers is None:
            return self._synthesizer.synthesize(query_bundle, list(nodes))
        pieces = self._pieces(self._answers, query_bundle, nodes)
        if self._streaming:
            return StreamingResponse(pieces, source_nodes=list(nodes))
        return Response("".join(pieces), source_nodes=list(nodes))

    @staticmethod
    def _pieces(
        answers: MemoryAnswers, query: QueryBundle, nodes: Sequence[NodeWithScore]
    ) -> Generator[str, None, None]:
        documents = [Document(one.node.node_id, one.node.get_content(MetadataMode.NONE)) for one in nodes]
        pieces = answers.stream(query.query_str, documents)
        return (piece for piece in pieces)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {} if self._answers is not None else {"response_synthesizer": self._synthesizer}
