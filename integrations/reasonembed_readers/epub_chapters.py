"""A reader of e-books (EPUB): an archive of web pages, in the order of its spine."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urldefrag
from xml.etree.ElementTree import Element
from zipfile import ZipFile

from reasonembed_rag.errors import InputError
from reasonembed_readers.archives import open_archive, read_member
from reasonembed_readers.decoding import decoded
from reasonembed_readers.html_text import html_to_text
from reasonembed_readers.office import described
from reasonembed_readers.parts import Note, Part, ReadOptions
from reasonembed_readers.xml_trees import local_name, parsed_xml

__all__ = ["read_epub"]

_PAGES = {"application/xhtml+xml", "text/html", "text/x-oeb1-document", "application/xml"}


def read_epub(path: Path, options: ReadOptions, note: Note) -> Iterator[Part]:
    """Yield the chapters that have text, under the title of the book and theirs in its table of contents.

    Raises InputError for a file that is damaged or whose text is encrypted.
    """
    if not path.stat().st_size:
        note(f"{path}: is empty")
        return
    with open_archive(path) as archive:
        book = _Book(path, archive)
        metadata = described(book.said("title"), book.said("creator"))
        titles = book.titles()
        for name in book.spine():
            data = book.member(name)
            text = html_to_text(decoded(data, name=f"{path}: {name}", options=options, note=lambda _: None))
            if text:
                title = titles.get(name, "")
                above = (metadata.get("title", ""), "" if title in text[:1000] else title)
                yield Part(text, heading=tuple(one for one in above if one), metadata=metadata)


class _Book:
    """The package document of a book and the members that it names."""

    def __init__(self, path: Path, archive: ZipFile) -> None:
        self._path = path
        self._archive = archive
        container = self._parsed("META-INF/container.xml")
        root = next((one.get("full-path") for one in container.iter() if local_name(one.tag) == "rootfile"), None)
        if root is None:
            raise InputError(f"{path}: not an e-book: its container names no package; want an EPUB")
        self._folder = posixpath.dirname(root)
        self._package = self._parsed(root)
        self._items = {item.get("id", ""): item for item in self._all("item")}
        encryption = read_member(archive, "META-INF/encryption.xml")
        found = [] if encryption is None else list(parsed_xml(encryption, name=f"{path}: encryption.xml").iter())
        self._encrypted = {unquote(one.get("URI", "")) for one in found if local_name(one.tag) == "CipherReference"}

    def said(self, name: str) -> str:
        """Return the title, creator or the like that the package has."""
        return next((" ".join("".join(one.itertext()).split()) for one in self._all(name)), "")

    def spine(self) -> Iterator[str]:
        """Yield the names of the pages in the order of reading."""
        for reference in self._all("itemref"):
            item = self._items.get(reference.get("idref", ""))
            if item is not None and item.get("media-type", "") in _PAGES and "nav" not in item.get("properties", ""):
                yield self._name(item.get("href", ""))

    def member(self, name: str) -> bytes:
        if name in self._encrypted:
            raise InputError(f"{self._path}: {name} is encrypted (DRM); want a book without protection")
        data = read_member(self._archive, name)
        if data is None:
            raise InputError(f"{self._path}: damaged: {name} is missing; fetch it again")
        return data

    def titles(self) -> Mapping[str, str]:
        """Return the titles of the table of contents by the page that they name; none where it cannot be read."""
        titles: dict[str, str] = {}
        for item in self._items.values():
            if item.get("media-type") == "application/x-dtbncx+xml" or "nav" in item.get("properties", "").split():
                name = self._name(item.get("href", ""))
                try:
                    root = self._parsed(name)
                except InputError:  # entities of HTML, which the page of contents may use
                    continue
                for target, title in _links(root):
                    titles.setdefault(self._name(target, posixpath.dirname(name)), title)
        return titles

    def _all(self, name: str) -> Iterator[Element]:
        return (one for one in self._package.iter() if local_name(one.tag) == name)

    def _name(self, href: str, folder: str | None = None) -> str:
        return posixpath.normpath(
            posixpath.join(self._folder if folder is None else folder, unquote(urldefrag(href)[0]))
        )

    def _parsed(self, name: str) -> Element:
        data = read_member(self._archive, name)
        if data is None:
            raise InputError(f"{self._path}: not an e-book, or damaged: {name} is missing; want an EPUB")
        return parsed_xml(data, name=f"{self._path}: {name}")


def _links(root: Element) -> Iterator[tuple[str, str]]:
    """Yield the targets and titles of a table of contents, of EPUB 2 (navPoint) or 3 (nav)."""
    for one in root.iter():
        if local_name(one.tag) == "navPoint":
            label = next((child for child in one if local_name(child.tag) == "navLabel"), None)
            content = next((child for child in one if local_name(child.tag) == "content"), None)
            if label is not None and content is not None:
                yield content.get("src", ""), " ".join("".join(label.itertext()).split())
        elif local_name(one.tag) == "a" and one.get("href"):
            yield one.get("href", ""), " ".join("".join(one.itertext()).split())
