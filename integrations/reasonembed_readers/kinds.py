"""Which reader reads a file: by its name, else by its content."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePath

from reasonembed_readers.csv_rows import read_separated
from reasonembed_readers.decoding import looks_binary
from reasonembed_readers.documents import document_suffix
from reasonembed_readers.docx_text import read_docx
from reasonembed_readers.epub_chapters import read_epub
from reasonembed_readers.info_nodes import read_info
from reasonembed_readers.json_rows import read_json_file, read_json_lines
from reasonembed_readers.languages import CODE_NAMES, CODE_SUFFIXES
from reasonembed_readers.light_markup import read_asciidoc, read_org, read_wiki_text
from reasonembed_readers.mail import read_mailbox, read_message
from reasonembed_readers.man_pages import read_man_page
from reasonembed_readers.notebooks import read_notebook
from reasonembed_readers.odt_text import read_odt
from reasonembed_readers.parquet_rows import read_parquet
from reasonembed_readers.parts import Note, Part, Reader, ReadOptions
from reasonembed_readers.passed_over import (
    PassedOver,
    passed_over_by_content,
    passed_over_by_name,
    passed_over_by_suffix,
)
from reasonembed_readers.pdf_pages import read_pdf
from reasonembed_readers.pptx_slides import read_pptx
from reasonembed_readers.raw import inner_name, open_bytes
from reasonembed_readers.source_code import read_code
from reasonembed_readers.texts import read_html, read_markdown, read_plain_text, read_text

__all__ = ["SUFFIXES", "FileKind", "file_kind", "read_file"]

_HEAD = 4096


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of files that is read."""

    name: str
    """As the summary of a run counts it: Markdown, HTML, PDF."""
    reader: Reader
    package: str | None = None
    """The module that must be installed to read it."""
    extra: str = "files"
    """The extra of ours that installs it."""


_TEXT = FileKind("text", read_text)
_HTML = FileKind("HTML", read_html)
_MARKDOWN = FileKind("Markdown", read_markdown)
_RST = FileKind("reStructuredText", read_text)
_ASCIIDOC = FileKind("AsciiDoc", read_asciidoc)
_WIKI = FileKind("wiki text", read_wiki_text)
_SETTINGS = FileKind("text", read_plain_text)
_JSON = FileKind("JSON", read_json_file)
_JSON_LINES = FileKind("JSON Lines", read_json_lines)
_PARQUET = FileKind("Parquet", read_parquet, package="pyarrow", extra="parquet")

_CODE = FileKind("source code", read_code)
_MESSAGE = FileKind("e-mail", read_message)
_MAILBOX = FileKind("mailbox", read_mailbox)
_WEB_ARCHIVE = FileKind("web archive", read_message)

_DOCUMENTS: Mapping[str, FileKind] = {
    ".docx": FileKind("Word", read_docx, package="docx"),
    ".epub": FileKind("EPUB", read_epub),
    ".odp": FileKind("OpenDocument", read_odt),
    ".odt": FileKind("OpenDocument", read_odt),
    ".ott": FileKind("OpenDocument", read_odt),
    ".pdf": FileKind("PDF", read_pdf, package="pypdf"),
    ".pptm": FileKind("PowerPoint", read_pptx, package="pptx"),
    ".pptx": FileKind("PowerPoint", read_pptx, package="pptx"),
}
"""Kinds that are known by their content too, which counts for more than the name."""

_SETTINGS_SUFFIXES = frozenset(
    {
        *(".bib", ".cfg", ".cls", ".conf", ".desktop", ".ini", ".list", ".log", ".po", ".pot"),
        *(".properties", ".service", ".sty", ".tex", ".toml", ".yaml", ".yml"),
    }
)
"""Text in which # begins a comment, or anything but a heading."""

_BY_SUFFIX: Mapping[str, FileKind] = {
    **_DOCUMENTS,
    **dict.fromkeys(CODE_SUFFIXES, _CODE),
    ".adoc": _ASCIIDOC,
    ".asciidoc": _ASCIIDOC,
    ".csv": FileKind("CSV", read_separated),
    ".eml": _MESSAGE,
    ".emlx": _MESSAGE,
    ".geojson": _JSON,
    ".htm": _HTML,
    ".html": _HTML,
    ".ipynb": FileKind("notebook", read_notebook),
    ".json": _JSON,
    ".jsonc": _JSON,
    ".jsonl": _JSON_LINES,
    ".markdown": _MARKDOWN,
    ".md": _MARKDOWN,
    ".mbox": _MAILBOX,
    ".mdown": _MARKDOWN,
    ".mdx": _MARKDOWN,
    ".mht": _WEB_ARCHIVE,
    ".mhtml": _WEB_ARCHIVE,
    ".mkd": _MARKDOWN,
    ".mediawiki": _WIKI,
    ".ndjson": _JSON_LINES,
    ".org": FileKind("Org", read_org),
    ".parquet": _PARQUET,
    ".qmd": _MARKDOWN,
    ".rmd": _MARKDOWN,
    ".rst": _RST,
    ".tsv": FileKind("TSV", read_separated),
    ".txt": _TEXT,
    ".wiki": _WIKI,
    ".xht": _HTML,
    ".xhtml": _HTML,
}
"""Kinds by the suffix of the unpacked name. Every other file that is text by its content is read as text."""

_BY_NAME: Mapping[str, FileKind] = dict.fromkeys(CODE_NAMES, _CODE)
"""Kinds by the whole name in lower case, for names that stand for a kind, such as Rakefile."""

_HTML_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?>.*?-->)\s*)*+<(?:!doctype )?html\b", re.IGNORECASE | re.DOTALL
)
_HEADERS = rb"(?=(?:[^\n]+\n)*?%b: )"
_MESSAGE_START = rb"(?=[\w-]+: )" + b"".join(_HEADERS % name for name in (b"From", b"Date", b"Message-ID"))
_BY_HEAD: tuple[tuple[re.Pattern[bytes], FileKind], ...] = (
    (_HTML_START, _HTML),
    (re.compile(rb"#!\s*/"), _CODE),
    (re.compile(rb"\s*(?:[.']\\\"|\.(?:TH|Dd|so)\s)"), FileKind("manual page", read_man_page)),
    (re.compile(rb"This is \S+, produced by (?:makeinfo|texi2any)"), FileKind("Info", read_info)),
    (re.compile(_MESSAGE_START, re.IGNORECASE), _MESSAGE),
    (re.compile(rb"From [^\n]*\d:\d\d[^\n]*\n" + _MESSAGE_START, re.IGNORECASE), _MAILBOX),
)
"""Kinds by the first bytes, for text of no known suffix."""

_OF_VIDEO_TOO = frozenset({".mts", ".ts"})
"""Suffixes of TypeScript and of video."""

SUFFIXES = tuple(sorted(_BY_SUFFIX))
"""The suffixes of kinds with a reader of their own; text is read under any name."""


def file_kind(path: str | os.PathLike[str]) -> FileKind | PassedOver:
    """Return how a file is read, or why it is not; its name decides, else its first bytes.

    Raises InputError for a file whose bytes are needed and that cannot be opened.
    """
    path = Path(path)
    name = inner_name(path)
    suffix = PurePath(name).suffix
    passed_over = passed_over_by_name(name, suffix)
    if passed_over is not None:
        return passed_over
    kind = _BY_NAME.get(name) or _BY_SUFFIX.get(suffix)
    if kind is None or suffix in _DOCUMENTS or suffix in _OF_VIDEO_TOO:
        return _by_content(path, suffix)
    return _installed(kind, suffix)


def _installed(kind: FileKind, suffix: str) -> FileKind | PassedOver:
    if kind.package is None or find_spec(kind.package) is not None:
        return kind
    return PassedOver(suffix, f"{kind.name}: pip install 'reasonembed-rag[{kind.extra}]'", is_not_installed=True)


def _by_content(path: Path, suffix: str) -> FileKind | PassedOver:
    with open_bytes(path) as file:
        head = file.read(_HEAD)
    found = document_suffix(path, head, suffix)
    if found is not None and (found in _DOCUMENTS or found != suffix):
        return _of_document(found)
    kind = next((kind for start, kind in _BY_HEAD if start.match(head)), _DOCUMENTS.get(suffix))
    passed_over = passed_over_by_content(head, suffix, is_text=kind is not None or not looks_binary(head))
    other = _SETTINGS if suffix in _SETTINGS_SUFFIXES else _BY_SUFFIX.get(suffix, _TEXT)
    return passed_over or _installed(kind or other, suffix)


def _of_document(suffix: str) -> FileKind | PassedOver:
    kind = _DOCUMENTS.get(suffix)
    if kind is not None:
        return _installed(kind, suffix)
    return passed_over_by_suffix(suffix) or PassedOver(suffix, "not a kind that is read")


def read_file(
    path: str | os.PathLike[str],
    *,
    options: ReadOptions | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> Iterator[Part]:
    """Yield the parts of a file of a kind that is read, and none of one that is passed over.

    Raises InputError, naming path:line where there are lines, for a file that is damaged or cannot be opened, and
    MissingDependencyError where a package is needed.
    """
    path = Path(path)
    kind = file_kind(path)
    note: Note = on_note
    if isinstance(kind, FileKind):
        yield from kind.reader(path, options or ReadOptions(), note)
