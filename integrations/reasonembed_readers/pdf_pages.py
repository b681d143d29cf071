"""A reader of PDF, by pypdf: without dependencies, twice as fast as pdfminer, and with limits to what is unpacked."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_readers.archives import seekable
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.surrogates import whole_characters

if TYPE_CHECKING:
    from pypdf import PdfReader

__all__ = ["mended", "read_pdf"]

_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st", "\ufb06": "st"}
)
_HYPHENATED = re.compile(r"(?<![\w-])((?:\w+-)*)([^\W\d_]{2,})-\n[ \t]*(?=[^\W\d_]{2})")
_NO_TITLE = re.compile(
    r"(microsoft \w+ - .*|untitled.*|.*\.(docx?|pptx?|xlsx?|tex|dvi|ps|pdf|indd|rtf|odt|html?)|\W*|(slide|page) *\d*)",
    re.IGNORECASE,
)


def read_pdf(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:  # noqa: ARG001 - a Reader
    """Yield the pages that have text; those without, which may be scanned, and damaged ones are told.

    Raises InputError for a file that is damaged as a whole or needs a password.
    """
    with seekable(path) as file, _quiet():
        if not file.read(1):
            note(f"{path}: is empty")
            return
        reader = _opened(path, file)
        metadata = _metadata(reader)
        title = metadata.get("title", "")
        heading = () if _NO_TITLE.fullmatch(title) else (title,)
        pages = _Pages(path, reader)
        for number, text in pages.read():
            yield Part(text, heading=(*heading, *pages.trail(number)), metadata=metadata, page=number)
        pages.tell(note)


def mended(text: str) -> str:
    """Return the text of a page with its ligatures as letters, and words whole that end a line with a hyphen."""
    text = whole_characters(text).translate(_LIGATURES).replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"\xad[ \t]*\n?[ \t]*", "", text)
    text = re.sub(r"(?:\.[ \t]?){4,}", "... ", text)  # leaders of a table of contents
    text = re.sub(r"[ \t\f\v]+\n", "\n", text)
    return _HYPHENATED.sub(_joined, text).strip()


def _joined(found: re.Match[str]) -> str:
    """Return a word without its hyphen, but with it within a compound: state-of-the-art."""
    compound, start = found.groups()
    following = found.string[found.end()]
    return f"{compound}{start}{'-' if compound or following.isupper() else ''}"


def _opened(path: Path, file: Any) -> PdfReader:
    try:
        from pypdf import PdfReader
        from pypdf.errors import DependencyError
    except ImportError as error:
        raise MissingDependencyError("pypdf", "files") from error
    try:
        reader = PdfReader(file)
        is_open = not reader.is_encrypted or reader.decrypt("")
        _ = len(reader.pages) if is_open else 0
    except DependencyError as error:
        raise MissingDependencyError("cryptography, which encrypted PDF needs,", "files") from error
    except Exception as error:  # pypdf raises whatever Python raises for what it did not foresee in a damaged file
        raise _damaged(path, error) from error
    if not is_open:
        raise InputError(f"{path}: is protected by a password; save it without one")
    return reader


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a PDF, or damaged ({error}); want a complete file: fetch or save it again")


class _Pages:
    """The pages of a document, and what was wrong with them."""

    def __init__(self, path: Path, reader: PdfReader) -> None:
        self._path = path
        self._reader = reader
        self._blank: list[int] = []
        self._bad: list[tuple[int, Exception]] = []
        self._bookmarks = _bookmarks(reader)

    def read(self) -> Iterator[tuple[int, str]]:
        """Yield the numbers and texts of pages with text; raise InputError if every page is damaged."""
        count = len(self._reader.pages)
        for number in range(1, count + 1):
            try:
                text = mended(self._reader.pages[number - 1].extract_text())
            except Exception as error:  # noqa: BLE001 - as above; the other pages may be whole
                self._bad.append((number, error))
                continue
            if text:
                yield number, text
            else:
                self._blank.append(number)
        if count and len(self._bad) == count:
            raise _damaged(self._path, self._bad[0][1])

    def tell(self, note: Note) -> None:
        if self._blank:
            pages = f"{len(self._blank):,} of {len(self._reader.pages):,} pages"
            note(f"{self._path}: {pages} without text: if they are scanned, run OCR on them (ocrmypdf)")
        if self._bad:
            first, error = self._bad[0]
            note(f"{self._path}: {len(self._bad):,} damaged pages were left out, the first is page {first} ({error})")

    def trail(self, number: int) -> tuple[str, ...]:
        """Return the bookmarks under which all of a page stands."""
        before = [trail for page, trail in self._bookmarks if page < number]
        on_page = [trail for page, trail in self._bookmarks if page == number]
        if not before:
            return ()
        return _common([before[-1], *on_page])


def _common(trails: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    shared: list[str] = []
    for titles in zip(*trails, strict=False):
        if len(set(titles)) > 1:
            break
        shared.append(titles[0])
    return tuple(shared)


def _bookmarks(reader: PdfReader) -> list[tuple[int, tuple[str, ...]]]:
    """Return the pages and trails of the bookmarks in order; none where they are damaged."""
    found: list[tuple[int, tuple[str, ...]]] = []

    def collect(entries: Sequence[Any], above: tuple[str, ...]) -> None:
        title = ""
        for entry in entries:
            if isinstance(entry, list):
                collect(entry, (*above, title) if title else above)
                continue
            title = " ".join(str(entry.title).split())
            page = reader.get_destination_page_number(entry)
            if page is not None and page >= 0:
                found.append((page + 1, (*above, title)))

    try:
        collect(reader.outline, ())
    except Exception:  # noqa: BLE001 - they only help: a document without bookmarks is read as well
        return []
    return sorted(found, key=lambda bookmark: bookmark[0])


def _metadata(reader: PdfReader) -> dict[str, Any]:
    try:
        said = reader.metadata
        values = {} if said is None else {"title": said.title, "author": said.author}
    except Exception:  # noqa: BLE001 - as for bookmarks
        return {}
    return {key: text for key, value in values.items() if value and (text := mended(" ".join(str(value).split())))}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what pypdf logs of the files that it repairs off the terminal; pages that are lost are told as notes."""
    logger = logging.getLogger("pypdf")  # those of its modules hand on to it
    handler, propagates = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
