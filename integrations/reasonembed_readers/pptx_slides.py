"""A reader of PowerPoint presentations, by python-pptx: a part per slide, under its title, with its notes."""

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
    from pptx.presentation import Presentation

__all__ = ["read_pptx"]

_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_FURNITURE = {"DATE", "FOOTER", "SLIDE_NUMBER", "HEADER"}


def read_pptx(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield the slides that have text; those that are only pictures are told.

    Raises InputError for a file that is damaged, and for one with XML entities.
    """
    if not path.stat().st_size:
        note(f"{path}: is empty")
        return
    check_office_archive(path, "ppt/presentation.xml")
    pictures = 0
    with damage_named(path):
        presentation = _opened(path)
        properties = presentation.core_properties
        metadata = described(properties.title, properties.author)
        for number, slide in enumerate(presentation.slides, 1):
            title, text = _slide(slide)
            if text or title:
                heading = (title,) if title and text else ()
                yield Part(text or title, heading=heading, metadata=metadata, page=number)
            else:
                pictures += 1
    if pictures:
        note(f"{path}: {pictures:,} slides without text: if they are pictures, save the file as PDF and run OCR on it")


def _opened(path: Path) -> Presentation:
    try:
        import pptx
    except ImportError as error:
        raise MissingDependencyError("python-pptx", "files") from error
    with seekable(path) as file:
        return pptx.Presentation(file)


def _slide(slide: Any) -> tuple[str, str]:
    """Return the title of a slide and what else it says."""
    shape = slide.shapes.title
    title = " ".join(shape.text_frame.text.split()) if shape is not None else ""
    identity = shape.shape_id if shape is not None and title else None
    blocks = [block for one in slide.shapes if one.shape_id != identity for block in _blocks(one)]
    if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None:
        notes = _lines(frame)
        blocks.extend([f"Notes: {notes}"] if notes else [])
    return title, "\n\n".join(block for block in blocks if block)


def _blocks(shape: Any) -> Iterator[str]:
    """Yield the texts of a shape, of those within a group, and of a table or diagram."""
    if shape.is_placeholder and getattr(shape.placeholder_format.type, "name", "") in _FURNITURE:
        return
    if hasattr(shape, "shapes"):
        for inner in shape.shapes:
            yield from _blocks(inner)
    elif shape.has_text_frame:
        yield _lines(shape.text_frame)
    elif getattr(shape, "has_table", False):
        rows = [[" ".join(cell.text_frame.text.split()) for cell in row.cells] for row in shape.table.rows]
        yield markdown_table(rows)
    else:
        yield _diagram(shape)


def _lines(frame: Any) -> str:
    """Return paragraphs as lines, those of a list with dashes."""
    lines = [(one.level, " ".join(one.text.split())) for one in frame.paragraphs]
    lines = [(level, line) for level, line in lines if line]
    if len(lines) == 1:
        return lines[0][1]
    return "\n".join(f"{'  ' * level}- {line}" for level, line in lines)


def _diagram(shape: Any) -> str:
    """Return the words of a diagram (SmartArt), which are in a file of their own."""
    references = [one for one in shape._element.iter() if local_name(str(one.tag)) == "relIds"]  # noqa: SLF001
    words: list[str] = []
    for reference in references:
        key = next((value for name, value in reference.attrib.items() if local_name(str(name)) == "dm"), None)
        if key is not None:
            data = shape.part.related_part(key).blob
            words += [one.text or "" for one in parsed_xml(data, name="diagram").iter(f"{_DRAWING}t")]
    return "\n".join(f"- {word}" for word in words if re.search(r"\S", word))
