"""A LlamaIndex query engine over a saved index: python examples/llama_index_engine.py guide.index "...".

The answering model is that of any OpenAI-compatible server: OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL name it.
"""

from __future__ import annotations

import os
import sys
from typing import Any

try:
    from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
    from llama_index.core.llms.callbacks import llm_completion_callback
    from llama_index.core.query_engine import RetrieverQueryEngine
    from llama_index.retrievers.reasonembed import ReasonEmbedRetriever
    from pydantic import PrivateAttr

    from reasonembed_rag.errors import ReasonEmbedError
    from reasonembed_rag.llm import OpenAIChat, with_retries
    from reasonembed_stores import citation
except ImportError as error:
    sys.exit(__doc__ if "--help" in sys.argv else f"{error}; pip install '.[all]'")


class ServedLLM(CustomLLM):
    """LlamaIndex's interface over this project's client, which retries; an LLM class of LlamaIndex's does as well."""

    _ask: Any = PrivateAttr()

    def __init__(self) -> None:
        super().__init__()
        self._ask = with_retries(
            OpenAIChat(
                os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
                os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
                api_key=os.environ.get("OPENAI_API_KEY"),
                temperature=0.0,
            )
        )

    @property
    def metadata(self) -> LLMMetadata:
        """Return what LlamaIndex plans prompts by."""
        return LLMMetadata(context_window=8192, num_output=512)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **_settings: Any) -> CompletionResponse:  # noqa: ARG002
        """Answer a prompt."""
        return CompletionResponse(text=self._ask(prompt).text)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **_settings: Any) -> CompletionResponseGen:  # noqa: ARG002
        """Answer in one piece."""
        whole = self._ask(prompt).text
        return iter([CompletionResponse(text=whole, delta=whole)])


def main(index: str, question: str) -> None:
    """Answer from the best passages, and say where each stands and how it scored."""
    retriever = ReasonEmbedRetriever(index, k=5, hybrid=0.25)
    response = RetrieverQueryEngine.from_args(retriever, llm=ServedLLM()).query(question)
    print(response)
    for found in response.source_nodes:
        print(f"{found.score:.3f} {citation(found.node)}")


if __name__ == "__main__":
    if "--help" in sys.argv:
        print(__doc__)
        sys.exit()
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ReasonEmbedError as error:
        sys.exit(f"error: {error}")
