"""A reader of OpenDocument texts and presentations as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from reasonembed_rag.errors import InputError
from reasonembed_readers.archives import open_archive, read_member
from reasonembed_readers.office import described
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.tables import markdown_table
from reasonembed_readers.xml_trees import local_name, parsed_xml

__all__ = ["read_odt"]

_UNSEEN = {
    "tracked-changes",
    "annotation",
    "sequence-decls",
    "forms",
    "scripts",
    "automatic-styles",
    "table-of-content",
}
_PLAIN = {"tab": "\t", "line-break": "\n"}


def read_odt(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield a text as one part, or a presentation slide by slide.

    Raises InputError for a file that is damaged or protected by a password.
    """
    if not path.stat().st_size:
        note(f"{path}: is empty")
        return
    with open_archive(path) as archive:
        content, meta = read_member(archive, "content.xml"), read_member(archive, "meta.xml")
        manifest = read_member(archive, "META-INF/manifest.xml")
    if content is None:
        raise InputError(f"{path}: has no content.xml; want what LibreOffice saves as {path.suffix}")
    if manifest is not None and b"encryption-data" in manifest:
        raise InputError(f"{path}: is protected by a password; save it without one")
    metadata = {} if meta is None else _metadata(parsed_xml(meta, name=f"{path}: meta.xml"))
    root = parsed_xml(content, name=f"{path}: content.xml")
    slides = [one for one in root.iter() if local_name(one.tag) == "page"]
    for page, element in enumerate(slides or [root], 1):
        text = "\n\n".join(block for block in _blocks(element) if block.strip())
        if text:
            yield Part(text, metadata=metadata, page=page if slides else None)


def _metadata(root: Element) -> dict[str, str]:
    found = {local_name(one.tag): (one.text or "") for one in root.iter()}
    return described(found.get("title"), found.get("creator") or found.get("initial-creator"))


def _blocks(element: Element, depth: int = 0) -> Iterator[str]:
    """Yield headings, paragraphs, list items and tables in order."""
    for child in element:
        kind = local_name(child.tag)
        if kind == "h":
            level = next((value for name, value in child.attrib.items() if local_name(name) == "outline-level"), "1")
            yield f"{'#' * min(int(level) if level.isdigit() else 1, 6)} {' '.join(_text(child).split())}"
            yield from _footnotes(child)
        elif kind == "p":
            yield _text(child).strip()
            yield from _footnotes(child)
        elif kind == "list":
            for block in _blocks(child, depth + 1):
                yield block if block.lstrip().startswith("- ") else f"{'  ' * depth}- {block}"
        elif kind == "table":
            yield _table(child)
        elif kind == "notes":
            yield from (f"Notes: {block}" for block in _blocks(child, depth) if block)
        elif kind not in _UNSEEN:
            yield from _blocks(child, depth)


def _table(element: Element) -> str:
    rows = [one for one in element.iter() if local_name(one.tag) == "table-row"]
    cells = [[one for one in row if local_name(one.tag) == "table-cell"] for row in rows]
    return markdown_table([" ".join(" ".join(_blocks(cell)).split()) for cell in row] for row in cells)


def _footnotes(element: Element) -> Iterator[str]:
    for note in element.iter():
        if local_name(note.tag) == "note-body":
            yield f"(Footnote: {' '.join(' '.join(_blocks(note)).split())})"


def _text(element: Element) -> str:
    """Return the text of a paragraph; spaces, tabs and line ends that count are elements."""
    pieces = [_collapsed(element.text)]
    for child in element:
        kind = local_name(child.tag)
        if kind == "s":
            count = next((value for name, value in child.attrib.items() if local_name(name) == "c"), "1")
            pieces.append(" " * min(int(count) if count.isdigit() else 1, 100))
        elif kind in _PLAIN:
            pieces.append(_PLAIN[kind])
        elif kind not in _UNSEEN and kind != "note":
            pieces.append(_text(child))
        pieces.append(_collapsed(child.tail))
    return "".join(pieces)


def _collapsed(text: str | None) -> str:
    return re.sub(r"\s+", " ", text or "")
