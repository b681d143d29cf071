"""Nodes as documents of a store, and back: the user's metadata are kept apart from what LlamaIndex needs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    RelatedNodeType,
    TextNode,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_stores import Condition, Filter, Group, plain_metadata

__all__ = ["LISTED", "document_of", "node_of", "of_sources", "piece_of", "source_hash_of", "source_of"]

_NODE = "_llama_index_node"
"""All of a node but its text, metadata and embedding, as JSON text."""
_SOURCE = "_llama_index_source"
"""The id of the document that a node comes from; its own where it comes from none."""
_LISTED = "_llama_index_listed"
"""Whether an index lists the node: an IndexNode or an ImageNode."""
_PLAIN = frozenset({str, int, float, bool, list, dict, type(None)})
_encode_json = json.JSONEncoder(ensure_ascii=False).encode
_RESERVED = (_NODE, _SOURCE, _LISTED)
_SOURCE_ALIASES = ("document_id", "doc_id", "ref_doc_id")
"""LlamaIndex's names for the source in filters; a node's own field of the name comes first."""

_IS_OLD = Group("all", (Condition(_SOURCE, "$empty", operand=True), Condition("_node_type", "$empty", operand=False)))
"""A node that an earlier release added, in which LlamaIndex's names replaced a user's own."""
LISTED: Filter = Group(
    "any",
    (
        Condition(_LISTED, "$eq", operand=True),
        Group("all", (_IS_OLD, Condition("_node_type", "$in", ("IndexNode", "ImageNode")))),
    ),
)
"""Satisfied by the nodes that an index lists."""


def of_sources(sources: Collection[str]) -> Filter:
    """Return the filter that the nodes of some source documents satisfy."""
    among = frozenset(sources)
    old = Group("all", (_IS_OLD, Condition("ref_doc_id", "$in", among)))
    return Group("any", (Condition(_SOURCE, "$in", among), old))


def document_of(node: BaseNode) -> Document:
    """Return a node as a document, whose metadata the store checks.

    Raises InputError, naming the node, for what cannot be stored.
    """
    metadata = dict(node.metadata)
    reserved = [name for name in _RESERVED if name in metadata]
    if reserved:
        raise InputError(f"node {node.node_id!r} has the metadata field {reserved[0]!r}, a name of the store's; rename")
    content = node.get_content(metadata_mode=MetadataMode.NONE)
    source = node.source_node
    aliases = {} if source is None else dict.fromkeys(_SOURCE_ALIASES, source.node_id)
    aliases = {"_node_type": node.class_name()} | aliases
    aliases = {name: value for name, value in aliases.items() if name not in metadata}
    data = _data_of(node)
    texts = [name for name, holder in _text_holders(data) if holder.get("text") == content]
    for name, holder in _text_holders(data):
        if name in texts:
            del holder["text"]
    record = {
        "classes": _class_names(type(node)),
        "source_hash": node.hash if source is None else source.hash or "",
        "aliases": list(aliases),
        "texts": texts,
        "node": data,
    }
    of = node.node_id if source is None else source.node_id or node.node_id
    metadata |= aliases | {_SOURCE: of, _NODE: _encode_json(record)}
    if _is_listed(type(node)):
        metadata[_LISTED] = True
    return Document(node.node_id, content, metadata)


def _data_of(node: BaseNode) -> dict[str, Any]:
    """Return a node as JSON without its metadata and embedding."""
    try:
        copy = node.model_copy(update={"relationships": _plain_relationships(node)}) if node.relationships else node
        data: dict[str, Any] = copy.model_dump(mode="json", exclude={"metadata", "embedding"})
    except (ValueError, TypeError) as error:  # pydantic's own are ValueErrors
        raise InputError(
            f"node {node.node_id!r} cannot be kept as JSON ({error}); want plain values in its fields, and pass the "
            "objects of IndexNodes as VectorStoreIndex(objects=...)"
        ) from error
    for name, resource in node.__dict__.items():
        if type(resource) in _PLAIN:  # pydantic's isinstance is slow
            continue
        if isinstance(resource, MediaResource) and resource.data is not None:
            data[name]["data"] = resource.data.decode("ascii")  # base64, which pydantic leaves out
    return data


def _plain_relationships(node: BaseNode) -> dict[NodeRelationship, RelatedNodeType]:
    """Return a node's relationships, in which the metadata of other nodes are as they are stored."""

    def plain(related: RelatedNodeInfo) -> RelatedNodeInfo:
        return related.model_copy(update={"metadata": plain_metadata(related.metadata, document_id=related.node_id)})

    return {
        kind: [plain(one) for one in related] if isinstance(related, list) else plain(related)
        for kind, related in node.relationships.items()
    }


def _text_holders(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what may have the text of a node: itself, by the name "", and its text resource."""
    yield "", data
    if isinstance(data.get("text_resource"), dict):
        yield "text_resource", data["text_resource"]


def node_of(document: Document) -> BaseNode:
    """Return a stored document as a node: the one that was added, where a LlamaIndex store added it."""
    metadata = dict(document.metadata)
    record = metadata.pop(_NODE, None)
    if record is None:
        return _old_node_of(document) or TextNode(id_=document.id, text=document.content, metadata=metadata)
    record = json.loads(record)
    for name in (_SOURCE, _LISTED, *record["aliases"]):
        metadata.pop(name, None)
    data = record["node"]
    for name, holder in _text_holders(data):
        if name in record["texts"]:
            holder["text"] = document.content
    return _class_of(record["classes"]).from_dict(data | {"metadata": metadata})


def _old_node_of(document: Document) -> BaseNode | None:
    """Return the node that an earlier release added; None for a document that is none."""
    if not {"_node_content", "_node_type"} <= document.metadata.keys():
        return None
    try:
        return metadata_dict_to_node(dict(document.metadata), text=document.content)
    except (ValueError, TypeError):  # a user's own fields of these names
        return None


def source_of(document: Document) -> str | None:
    """Return the id of the document that a stored node comes from, its own where it comes from none.

    None where no LlamaIndex store added it.
    """
    if _NODE in document.metadata:
        return str(document.metadata[_SOURCE])
    old = _old_node_of(document)
    return None if old is None else old.ref_doc_id or document.id


def source_hash_of(document: Document) -> str:
    """Return LlamaIndex's hash of the document that a stored node comes from; "" where it is not known."""
    if _NODE in document.metadata:
        return str(json.loads(document.metadata[_NODE])["source_hash"])
    return _source_hash(node_of(document))


class Piece(NamedTuple):
    """What tells a part of a document from every other part, and from the same part of another version of it."""

    source: str
    source_hash: str
    start: int
    content: str


def piece_of(document: Document) -> Piece | None:
    """Return the part of a document that a stored node is; None where that is not known."""
    if _NODE not in document.metadata:
        return None
    record = json.loads(document.metadata[_NODE])
    start = record["node"].get("start_char_idx")
    if start is None or not record["source_hash"]:
        return None
    return Piece(str(document.metadata[_SOURCE]), record["source_hash"], start, document.content)


def _source_hash(node: BaseNode) -> str:
    return node.hash if node.source_node is None else node.source_node.hash or ""


@lru_cache(maxsize=32)
def _is_listed(kind: type[BaseNode]) -> bool:
    return issubclass(kind, ImageNode | IndexNode)


@lru_cache(maxsize=32)
def _class_names(kind: type[BaseNode]) -> list[str]:
    """Return the names of a node's class and of its bases that are nodes, in the order of Python's lookup."""
    return [_name(base) for base in kind.__mro__ if issubclass(base, BaseNode)]


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _class_of(names: Sequence[str]) -> type[BaseNode]:
    """Return the first of some classes that is loaded: a user's own, or what it is derived from."""
    loaded: Mapping[str, type[BaseNode]] = {_name(kind): kind for kind in _derived(BaseNode)}
    return next((loaded[name] for name in names if name in loaded), TextNode)


def _derived(kind: type[Any]) -> Iterator[type[BaseNode]]:
    for derived in kind.__subclasses__():
        yield derived
        yield from _derived(derived)
