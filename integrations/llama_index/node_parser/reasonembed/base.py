"""ReasonEmbedNodeParser: passages that a model reads whole, as a LlamaIndex node parser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser import MetadataAwareTextSplitter
from llama_index.core.node_parser.node_utils import build_nodes_from_splits, default_id_func
from llama_index.core.schema import BaseNode, Document, MetadataMode, TextNode
from llama_index.core.utils import get_tqdm_iterable
from llama_index.embeddings.reasonembed import ReasonEmbedEmbedding
from pydantic import Field, PrivateAttr, field_validator

from reasonembed_rag.encoder import EncoderSettings, passage_splitter
from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import Passage, PassageSplitter

__all__ = ["ReasonEmbedNodeParser"]

_MODEL_FIELDS = ("model_name", "revision", "max_document_length", "base_url", "server_spec", "tokenizer")


class ReasonEmbedNodeParser(MetadataAwareTextSplitter):
    """Split documents into nodes that a model reads whole, at headings, paragraphs, code, sentences.

    Sizes are tokens of the model, and count what LlamaIndex embeds with a node: its metadata and its trail of headings,
    which is the metadata `heading`, joined by " > "; where a document has its own `heading`, ours is
    `reasonembed_heading`. A node's text is a slice of the document's, start_char_idx to end_char_idx. Only the
    tokenizer is loaded.
    """

    model_name: str = Field(default="default", description="A folder, a hub id, or the name of a shared embedder.")
    revision: str | None = None
    adapter: str | None = None
    max_document_length: int | None = Field(default=None, description="The tokens that the model is to read.")
    chunk_size: int | None = Field(
        default=None, description="Tokens of a node; by default four fifths of what the model reads and at most 256."
    )
    chunk_overlap: int = Field(default=0, description="Tokens repeated from the node before.")
    base_url: str | None = Field(default=None, description="An OpenAI-compatible server that runs the model.")
    server_spec: dict[str, Any] | None = Field(default=None, description="The fields of its model's EmbeddingSpec.")
    tokenizer: str | None = Field(default=None, description="The tokenizer of the server's model.")
    _made: tuple[tuple[EncoderSettings, int | None, int], PassageSplitter] | None = PrivateAttr(default=None)

    @field_validator("id_func", mode="before")
    @classmethod
    def _stored_id_func(cls, value: Any) -> Any:
        """Return the function for what to_dict stores of it: its name."""
        if isinstance(value, Mapping):
            if value.get("id_func_name") != default_id_func.__name__:
                raise InputError(f"id_func was {value.get('id_func_name')!r} and is not stored; pass it: id_func=...")
            return default_id_func
        return value

    @classmethod
    def class_name(cls) -> str:
        """Return the name used in serialised form."""
        return "ReasonEmbedNodeParser"

    @classmethod
    def from_embedding(cls, embedding: BaseEmbedding, **settings: Any) -> Self:
        """Return the parser for a ReasonEmbedEmbedding, such as Settings.embed_model; `settings` are other fields.

        Raises InputError for the embedding of another package.
        """
        if not isinstance(embedding, ReasonEmbedEmbedding):
            raise InputError(f"embedding is {type(embedding).__name__}; want ReasonEmbedEmbedding")
        fields = {name: getattr(embedding, name) for name in _MODEL_FIELDS}
        adapter = embedding.adapter if isinstance(embedding.adapter, str) else None
        return cls(**{**fields, "adapter": adapter, **settings})

    @property
    def splitter(self) -> PassageSplitter:
        """The splitter for texts without metadata; reads the tokenizer at the first use.

        Raises InputError for a chunk_size that the model does not read and for an overlap of more than half of it.
        """
        settings = EncoderSettings(
            model=self.model_name,
            revision=self.revision,
            adapter=self.adapter,
            max_document_length=self.max_document_length,
            base_url=self.base_url,
            server_spec=self.server_spec,
            tokenizer=self.tokenizer,
        )
        key = (settings, self.chunk_size, self.chunk_overlap)  # LlamaIndex's Settings set the sizes afterwards
        if self._made is None or self._made[0] != key:
            self._made = key, passage_splitter(settings, tokens=self.chunk_size, overlap=self.chunk_overlap)
        return self._made[1]

    def split_text(self, text: str) -> list[str]:
        """Return the passages of a text, each under its trail of headings."""
        return [passage.content for passage in self.splitter.split(text).passages]

    def split_text_metadata_aware(self, text: str, metadata_str: str) -> list[str]:
        """Return the passages of a text, each under its trail of headings, that fit together with metadata."""
        splitter = replace(self.splitter, render=lambda passage: f"{metadata_str}\n\n{passage.content}")
        return [passage.content for passage in splitter.split(text).passages]

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        del kwargs
        return [
            child for node in get_tqdm_iterable(nodes, show_progress, "Parsing nodes") for child in self._children(node)
        ]

    def _children(self, node: BaseNode) -> list[TextNode]:
        heading = "reasonembed_heading" if "heading" in node.metadata else "heading"
        (probe,) = build_nodes_from_splits([""], node)

        def embedded(passage: Passage) -> str:
            probe.set_content(passage.text)
            probe.metadata = _headed(node.metadata if self.include_metadata else {}, heading, passage)
            return probe.get_content(MetadataMode.EMBED)

        passages = replace(self.splitter, render=embedded).split(node.get_content(MetadataMode.NONE)).passages
        children = build_nodes_from_splits([passage.text for passage in passages], node, id_func=self.id_func)
        for child, passage in zip(children, passages, strict=True):
            child.metadata = _headed({}, heading, passage)
            child.start_char_idx, child.end_char_idx = passage.start, passage.start + len(passage.text)
        return children

    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]) -> list[BaseNode]:
        """Keep the places of nodes, which LlamaIndex would look for again by their text, however often that occurs."""
        places = [(node.start_char_idx, node.end_char_idx) if isinstance(node, TextNode) else None for node in nodes]
        parsed = super()._postprocess_parsed_nodes(nodes, parent_doc_map)
        for node, place in zip(parsed, places, strict=True):
            if isinstance(node, TextNode) and place is not None:
                node.start_char_idx, node.end_char_idx = place
        return parsed


def _headed(metadata: dict[str, Any], name: str, passage: Passage) -> dict[str, Any]:
    return {**metadata, name: " > ".join(passage.heading)} if passage.heading else dict(metadata)
