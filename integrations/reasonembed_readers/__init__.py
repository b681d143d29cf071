"""Read files of many kinds as texts with their places: Markdown, HTML, source code, tables, mail, office documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reasonembed_rag.lazy import lazy_face

if TYPE_CHECKING:
    from reasonembed_readers.html_text import html_to_text
    from reasonembed_readers.kinds import SUFFIXES, FileKind, file_kind, read_file
    from reasonembed_readers.parts import Part, ReadOptions
    from reasonembed_readers.passed_over import PassedOver
    from reasonembed_readers.raw import unreadable_file

__all__ = [
    "SUFFIXES",
    "FileKind",
    "Part",
    "PassedOver",
    "ReadOptions",
    "file_kind",
    "html_to_text",
    "read_file",
    "unreadable_file",
]

__getattr__, __dir__ = lazy_face(__name__)
