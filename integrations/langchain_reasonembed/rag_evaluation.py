"""Evaluate LangChain chains: the documents that their language models were given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document as LangChainDocument
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from langchain_reasonembed.evaluation import documents_in, found_text, holds_documents
from langchain_reasonembed.listening import Listener
from reasonembed_rag.documents import Document
from reasonembed_rag.evaluation import Context, DocumentNames
from reasonembed_rag.lazy import lazy_face
from reasonembed_rag.protocols import Usage

__all__ = ["LangChainRag"]

__getattr__, _ = lazy_face(__name__, renamed={"LangChainPipeline": "LangChainRag"})

_ANSWER_KEYS = ("answer", "result", "output", "output_text")
_OPENING = 80
"""Characters of a document by which it is recognised in a prompt."""

_Answer = Any
"""What a chain returns: documents, text, a message or a mapping of them."""


class LangChainRag:
    """A LangChain chain as a RagChain: a callback records which documents its model was given.

    The context is the documents in the last prompt that has any retrieved document, in the order of the prompt; without
    a language model, the documents that the chain returns with its answer, or else those of its last retriever. A
    document is recognised in a prompt by its first 80 characters, ignoring whitespace.
    """

    def __init__(
        self, chain: Runnable[Any, Any], documents: Sequence[Document], *, input_key: str | None = None
    ) -> None:
        self._chain = chain
        self._names = DocumentNames(documents)
        self._input_key = input_key
        self._calls = 0
        self._tokens: int | None = None

    def answer(self, query: str) -> Context:
        """Invoke the chain with a query; returns the documents its model was given, and its answer."""
        listener = Listener()
        asked = {self._input_key: query} if self._input_key else query
        output = self._chain.invoke(asked, config={"callbacks": [listener]})
        self._calls += listener.calls
        if listener.tokens is not None:
            self._tokens = (self._tokens or 0) + listener.tokens
        return Context(tuple(self._home(document) for document in _given(listener, output)), _text(output))

    def usage(self) -> Usage:
        """Return the calls of language models so far, and their tokens where the models report them."""
        return Usage(llm_calls=self._calls, llm_tokens=self._tokens)

    def _home(self, document: LangChainDocument) -> Document:
        return Document(self._names.name(found_text(document)), document.page_content)


def _given(listener: Listener, output: _Answer) -> list[LangChainDocument]:
    """Return the documents that the language model was given, in the order of its prompt."""
    retrieved = [document for documents in listener.retrieved for document in documents]
    returned = documents_in(output) if holds_documents(output) else []
    if not listener.prompts:
        return returned or list(listener.retrieved[-1] if listener.retrieved else [])
    known = {document.page_content: document for document in (*retrieved, *returned) if document.page_content.strip()}
    for prompt in map(_bare, reversed(listener.prompts)):
        places = {content: prompt.find(_bare(content)[:_OPENING]) for content in known}
        contained = [content for content, place in places.items() if place >= 0]
        if contained:
            return [known[content] for content in sorted(contained, key=places.__getitem__)]
    return []


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _text(output: _Answer) -> str | None:
    """Return the answer in a chain's output."""
    if isinstance(output, Mapping):
        output = next((output[key] for key in _ANSWER_KEYS if key in output), None)
    if isinstance(output, BaseMessage):
        return output.text
    return output if isinstance(output, str) else None
