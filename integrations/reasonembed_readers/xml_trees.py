"""XML without entities of its own: those that grow without limit or fetch other files are refused."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from reasonembed_rag.errors import InputError

__all__ = ["local_name", "parsed_xml", "refuse_entities"]

_DEEPEST = 200


def parsed_xml(data: bytes, *, name: str) -> Element:
    """Return the root of a document; names are "{namespace}name".

    Raises InputError for XML that is damaged, declares entities or is nested too deep.
    """
    builder = TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise InputError(f"{name}: elements are nested more than {_DEEPEST} deep; save the document again")
        builder.start(_bracketed(tag), {_bracketed(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_bracketed(tag))

    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    _parse(parser, data, name=name)
    return builder.close()


def refuse_entities(data: bytes, *, name: str) -> None:
    """Raise InputError for XML that is damaged or declares entities."""
    _parse(expat.ParserCreate(), data, name=name)


def local_name(tag: str) -> str:
    """Return the name of a tag or attribute without its namespace."""
    return tag.rpartition("}")[2]


def _parse(parser: Any, data: bytes, *, name: str) -> None:
    def refuse(*declaration: Any) -> None:
        raise InputError(f"{name}: declares the XML entity {declaration[0]!r}; want a document without entities")

    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except InputError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InputError(f"{name}: damaged XML ({error}); save the document again") from error


def _bracketed(name: str) -> str:
    return "{" + name if "}" in name else name
