"""Where a document comes from, as people cite it: file and line or page, and the headings above it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["HasMetadata", "Origin", "citation", "origin_of"]


_PATHS = ("path", "source", "file_path")


class HasMetadata(Protocol):
    """A document of this package, of LangChain or of LlamaIndex."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata, with what indexing has added."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The place of a document in its file; None and "" for what is not known."""

    path: str | None = None
    """The file's name within its source."""
    line: int | None = None
    """The line, from 1, at which the text starts."""
    page: int | None = None
    """The page or slide, from 1."""
    heading: str = ""
    """The headings above the text, joined by " > "."""

    @property
    def location(self) -> str:
        """path:line, which editors and terminals open; "path, page 3" of a file with pages, "" without a path."""
        if self.path is None:
            return ""
        if self.line is not None:
            return f"{self.path}:{self.line}"
        return self.path if self.page is None else f"{self.path}, page {self.page}"


def origin_of(document: HasMetadata) -> Origin:
    """Return where a document comes from, by the metadata that indexing adds: path, line, page and heading.

    Where a document has a field of its own under such a name, indexing adds reasonembed_path and the like, which count.
    Without a path, source and file_path are taken, which the readers of LangChain and LlamaIndex write.
    """
    metadata = document.metadata
    paths = (_field(metadata, name) for name in _PATHS)
    heading = _field(metadata, "heading")
    # LangChain's reader of PDF counts pages from 0 and has the number that people use beside it.
    page = metadata.get("page_label", _field(metadata, "page"))
    return Origin(
        next((path for path in paths if isinstance(path, str) and path), None),
        _number(_field(metadata, "line")),
        _number(page),
        heading if isinstance(heading, str) else "",
    )


def citation(document: HasMetadata) -> str:
    """Return "docs/policy.md:12, Leave > Travel" or "report.pdf, page 3"; the id of a document without a path."""
    origin = origin_of(document)
    own = getattr(document, "id", None) or getattr(document, "node_id", None) or ""
    return ", ".join(filter(None, (origin.location or own, origin.heading)))


def _field(metadata: Mapping[str, Any], name: str) -> object:
    return metadata.get(f"reasonembed_{name}", metadata.get(name))


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
