"""What kind of document a file is by its bytes, whatever its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path

from reasonembed_readers.archives import DAMAGED, seekable

__all__ = ["document_suffix"]

_MAIN_PARTS = {
    "word/document.xml": ".docx",
    "ppt/presentation.xml": ".pptx",
    "xl/workbook.xml": ".xlsx",
    "xl/workbook.bin": ".xlsb",
    "META-INF/container.xml": ".epub",
}
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_OPEN_DOCUMENTS = {"text": ".odt", "presentation": ".odp", "spreadsheet": ".ods", "graphics": ".odg"}
_LONGEST_TYPE = 100


def document_suffix(path: Path, head: bytes, named: str) -> str | None:
    """Return the suffix that a document should have, such as .docx, by its first bytes and members; None for others.

    A damaged archive is what it is `named`, so that its reader says what is wrong with it.
    """
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if not head.startswith(b"PK\x03\x04"):
        return None
    try:
        with seekable(path) as file, zipfile.ZipFile(file) as archive:
            return _suffix_of(archive)
    except DAMAGED:
        return named


def _suffix_of(archive: zipfile.ZipFile) -> str | None:
    names = set(archive.namelist())
    found = next((suffix for name, suffix in _MAIN_PARTS.items() if name in names), None)
    if found is None and "mimetype" in names and archive.getinfo("mimetype").file_size <= _LONGEST_TYPE:
        kind = archive.read("mimetype").decode("ascii", errors="replace").strip()
        if kind.startswith(_OPEN_DOCUMENT):
            found = _OPEN_DOCUMENTS.get(kind.removeprefix(_OPEN_DOCUMENT).removesuffix("-template"))
    return found
