"""ReasonEmbedTextSplitter: passages that a model reads whole, as a LangChain text splitter."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from reasonembed_rag.encoder import EncoderSettings, passage_splitter
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.passages import Passage
from reasonembed_rag.protocols import Embedder

try:
    from langchain_text_splitters import TextSplitter
except ImportError as error:
    raise MissingDependencyError("langchain-text-splitters", "langchain") from error

__all__ = ["ReasonEmbedTextSplitter"]


class ReasonEmbedTextSplitter(TextSplitter):
    """Split texts into passages that a model reads whole, at headings, paragraphs, code, sentences.

    The sizes are tokens of the model, trail of headings included. Each document gets the metadata `heading`, the trail
    joined by " > ", and `start_index`; fields of these names that a document has already stay, and ours are then
    reasonembed_heading and reasonembed_start_index.
    """

    def __init__(
        self,
        model: str | EncoderSettings | Embedder = "default",
        *,
        chunk_size: int | None = None,
        chunk_overlap: int = 0,
        headings: bool = True,
    ) -> None:
        """Read the tokenizer of a model by name or settings, or of embeddings such as ReasonEmbedEmbeddings.

        chunk_size is by default four fifths of what the model reads and at most 256. With `headings` the content of a
        document begins with its trail of headings, so that they are embedded; without, it is a slice of the text.
        Raises InputError for a chunk_size that the model does not read and for an overlap of more than half of it.
        """
        self._splitter = passage_splitter(model, tokens=chunk_size, overlap=chunk_overlap)
        self._headings = headings
        super().__init__(chunk_size=self._splitter.target, chunk_overlap=chunk_overlap, length_function=self._tokens)

    def split_text(self, text: str) -> list[str]:
        """Return the passages of a text."""
        return [self._content(passage) for passage in self._splitter.split(text).passages]

    def create_documents(
        self, texts: Sequence[str], metadatas: Sequence[Mapping[Any, Any]] | None = None
    ) -> list[Document]:
        """Return the passages of texts as documents, each with a copy of its text's metadata.

        Raises InputError unless there are as many metadatas as texts, or none.
        """
        given = metadatas or [{}] * len(texts)
        if len(given) != len(texts):
            raise InputError(f"got {len(texts)} texts and {len(given)} metadatas; want one for each text, or none")
        return [
            Document(page_content=self._content(passage), metadata=_metadata(metadata, passage))
            for text, metadata in zip(texts, given, strict=True)
            for passage in self._splitter.split(text).passages
        ]

    def _content(self, passage: Passage) -> str:
        return passage.content if self._headings else passage.text

    def _tokens(self, text: str) -> int:
        return self._splitter.size(Passage((), text))


def _metadata(given: Mapping[Any, Any], passage: Passage) -> dict[Any, Any]:
    ours: dict[str, str | int] = {"heading": " > ".join(passage.heading), "start_index": passage.start}
    named = {f"reasonembed_{name}" if name in given else name: value for name, value in ours.items()}
    return {**copy.deepcopy(dict(given)), **named}
