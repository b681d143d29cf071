"""How documents are shown: as text for people, as JSON for programs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reasonembed_rag import Document
    from reasonembed_stores import IndexedSources

__all__ = [
    "JsonOption",
    "document_record",
    "echo_json",
    "json_text",
    "one_line",
    "passage_text",
    "place",
    "printable",
    "short_place",
    "shown_metadata",
    "terminal_width",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]

_NARROWEST, _WIDEST = 40, 120
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that would do something to a terminal; line feed and tab are not among them."""


def document_record(document: Document, sources: IndexedSources) -> dict[str, Any]:
    """Return a document as JSON: id, citation, where it comes from, content, metadata."""
    from reasonembed_stores import citation, origin_of

    origin = origin_of(document)
    file = None if origin.path is None else sources.locate(origin.path)
    return {
        "id": document.id,
        "citation": citation(document),
        "file": None if file is None else str(file),
        "path": origin.path,
        "line": origin.line,
        "page": origin.page,
        "heading": origin.heading,
        "content": document.content,
        "metadata": dict(document.metadata),
    }


def echo_json(records: Iterable[Mapping[str, Any]]) -> None:
    """Write records to stdout as one JSON array, one by one."""
    start = "["
    for record in records:
        typer.echo(f"{start}{json_text(record)}", nl=False)
        start = ",\n"
    typer.echo("[]" if start == "[" else "]")


def json_text(record: Mapping[str, Any]) -> str:
    """Return a record as JSON, with escapes where stdout is not UTF-8."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(record, ensure_ascii=not is_unicode, default=str)


def place(document: Document, sources: IndexedSources | None) -> str:
    """Return where a document comes from, as seen from the current folder, so that editors and terminals open it.

    "" if that is no more than its id says.
    """
    from reasonembed_stores import origin_of

    origin = origin_of(document)
    file = None if origin.path is None or sources is None else sources.locate(origin.path)
    if file is not None:
        here = Path.cwd()
        origin = replace(origin, path=str(file.relative_to(here) if file.is_relative_to(here) else file))
    cited = ", ".join(filter(None, (origin.location, origin.heading)))
    return "" if cited == document.id else one_line(cited)


def short_place(document: Document) -> str:
    """Return where a document comes from, without the file's name where the id begins with it."""
    from reasonembed_stores import citation, origin_of

    origin = origin_of(document)
    if origin.path is None or not document.id.startswith(f"{origin.path}#"):
        cited = citation(document)
        return "" if cited == document.id else one_line(cited)
    numbers = (("line", origin.line), ("page", origin.page))
    number = next((f"{name} {value}" for name, value in numbers if value is not None), "")
    return one_line(", ".join(filter(None, (number, origin.heading))))


def shown_metadata(document: Document) -> dict[str, Any]:
    """Return the metadata that tell people something: no empty texts, and no bookkeeping of LlamaIndex's."""
    return {name: value for name, value in document.metadata.items() if value != "" and not name.startswith("_")}


def passage_text(document: Document) -> str:
    """Return a document's content without the headings above it, which place() names."""
    from reasonembed_stores import origin_of

    heading = origin_of(document).heading
    return document.content.removeprefix(f"{heading}\n\n") if heading else document.content


def one_line(text: str) -> str:
    """Return a name or an id as one line: line feeds and tabs as codes, and what `printable` replaces."""
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))


def printable(text: str) -> str:
    """Return text without characters that would control the terminal."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def terminal_width() -> int:
    """Return the columns that a line of output may take: those of a terminal, within bounds."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDEST
    return min(max(columns, _NARROWEST), _WIDEST)
