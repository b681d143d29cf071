"""A reader of Word documents as Markdown, by python-docx, which shows their structure; markitdown goes through HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import MissingDependencyError
from reasonembed_readers.archives import seekable
from reasonembed_readers.office import check_office_archive, damage_named, described
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.tables import markdown_table
from reasonembed_readers.xml_trees import local_name, parsed_xml

if TYPE_CHECKING:
    from docx.document import Document

__all__ = ["read_docx"]

_UNSEEN = {"del", "moveFrom", "pPr", "rPr", "Fallback", "txbxContent", "tbl"}
"""What is within a paragraph and not of its text: deletions, properties, text boxes, which are blocks of their own."""
_PLAIN = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def read_docx(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield a document as Markdown: headings, lists, tables and, below their paragraphs, footnotes.

    Headers, footers and comments are left out. Raises InputError for a file that is damaged, and for one with XML
    entities.
    """
    if not path.stat().st_size:
        note(f"{path}: is empty")
        return
    notes = check_office_archive(path, "word/document.xml", also="word/footnotes.xml")
    footnotes = _footnotes(path, notes)
    with damage_named(path):
        document = _opened(path)
        text = "\n\n".join(block for block in _Blocks(document, footnotes).of(document.element.body) if block)
        properties = document.core_properties
        metadata = described(properties.title, properties.author)
    if text:
        yield Part(text, metadata=metadata)


def _opened(path: Path) -> Document:
    try:
        import docx
    except ImportError as error:
        raise MissingDependencyError("python-docx", "files") from error
    with seekable(path) as file:
        return docx.Document(file)


def _footnotes(path: Path, data: bytes | None) -> dict[str, str]:
    """Return the text of each footnote by its id."""
    if data is None:
        return {}
    root = parsed_xml(data, name=f"{path}: word/footnotes.xml")
    return {one.get(f"{_WORD}id", ""): " ".join(_text(one).split()) for one in root}


class _Blocks:
    """The blocks of a document as Markdown."""

    def __init__(self, document: Document, footnotes: dict[str, str]) -> None:
        self._styles = {style.style_id: style for style in document.styles}
        self._footnotes = footnotes
        self._has_title = any(self._style_name(one) == "title" for one in document.element.body.iter(f"{_WORD}p"))

    def of(self, element: Any) -> Iterator[str]:
        """Yield the paragraphs and tables in an element in order, those of content controls and text boxes too."""
        for child in element:
            kind = local_name(str(child.tag))
            if kind == "p":
                yield self._paragraph(child)
                for box in _boxes(child):
                    yield from self.of(box)
            elif kind == "tbl":
                yield self._table(child)
            elif kind not in _UNSEEN and kind != "sectPr":
                yield from self.of(child)

    def _paragraph(self, element: Any) -> str:
        text = _text(element).strip()
        notes = [self._footnotes.get(one.get(f"{_WORD}id"), "") for one in element.iter(f"{_WORD}footnoteReference")]
        below = "".join(f"\n\n(Footnote: {note})" for note in notes if note)
        if not text:
            return below.strip()
        if heading := self._level(element):
            return f"{'#' * heading} {' '.join(text.split())}{below}"
        numbering = element.find(f"{_WORD}pPr/{_WORD}numPr")
        if numbering is not None or self._style_name(element).startswith("list"):
            depth = numbering.find(f"{_WORD}ilvl") if numbering is not None else None
            level = depth.get(f"{_WORD}val", "") if depth is not None else ""
            indent = min(int(level), 8) if level.isdigit() else 0
            return f"{'  ' * indent}- {text}{below}"
        return text + below

    def _level(self, element: Any) -> int:
        """Return the level of a heading, from 1, by its style, what that is based on, or its outline level; else 0."""
        if self._style_name(element) == "title":
            return 1
        below_title = 1 if self._has_title else 0
        outline = element.find(f"{_WORD}pPr/{_WORD}outlineLvl")
        style = self._style(element)
        for _ in range(10):
            if outline is not None and (value := outline.get(f"{_WORD}val", "")).isdigit() and int(value) < 9:
                return min(int(value) + 1 + below_title, 6)
            if style is None:
                return 0
            if found := re.fullmatch(r"heading (\d)", (style.name or "").lower()):
                return min(int(found.group(1)) + below_title, 6)
            outline = style.element.find(f"{_WORD}pPr/{_WORD}outlineLvl")
            style = getattr(style, "base_style", None)
        return 0

    def _style(self, element: Any) -> Any:
        style = element.find(f"{_WORD}pPr/{_WORD}pStyle")
        return None if style is None else self._styles.get(style.get(f"{_WORD}val"))

    def _style_name(self, element: Any) -> str:
        return (getattr(self._style(element), "name", None) or "").lower()

    def _table(self, element: Any) -> str:
        """Return a table as rows; one of a single column is there for the layout, and its cells are blocks."""
        rows = [[list(self.of(cell)) for cell in _inner(row, "tc")] for row in _inner(element, "tr")]
        if all(len(row) <= 1 for row in rows):
            return "\n\n".join(block for row in rows for cell in row for block in cell if block)
        return markdown_table([" ".join(" ".join(cell).split()) for cell in row] for row in rows)


def _inner(element: Any, kind: str) -> Iterator[Any]:
    """Yield the children of a kind, and those in content controls."""
    for child in element:
        name = local_name(str(child.tag))
        if name == kind:
            yield child
        elif name in {"sdt", "sdtContent", "ins", "customXml"}:
            yield from _inner(child, kind)


def _boxes(element: Any) -> Iterator[Any]:
    """Yield the text boxes of a paragraph, once each: older programs find them again in Fallback."""
    for child in element:
        name = local_name(str(child.tag))
        if name == "txbxContent":
            yield child
        elif name != "Fallback":
            yield from _boxes(child)


def _text(element: Any) -> str:
    pieces: list[str] = []
    for child in element:
        name = local_name(str(child.tag))
        if name == "t":
            pieces.append(child.text or "")
        elif name in _PLAIN:
            pieces.append(_PLAIN[name])
        elif name not in _UNSEEN:
            pieces.append(_text(child))
    return "".join(pieces)
