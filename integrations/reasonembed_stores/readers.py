"""Stream corpora from disk: JSON Lines, Parquet, and folders of text, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError, MissingDependencyError
from reasonembed_rag.files import read_jsonl_documents
from reasonembed_rag.passages import split_passages
from reasonembed_stores.html_text import html_to_text

__all__ = ["SUFFIXES", "Corpus", "FileCorpus", "TextSplitter", "load_splitter"]

_ROWS = 1000
_MAX_WORDS = 160


class Corpus(Protocol):
    """Documents that can be read more than once, always in the same order."""

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents."""


class TextSplitter(Protocol):
    """Splits a text into chunks, as LangChain's text splitters and LlamaIndex's node parsers do."""

    def split_text(self, text: str) -> Sequence[str]:
        """Return the chunks of a text."""


@dataclass(frozen=True, slots=True)
class FileCorpus:
    """The documents of a file, or of every readable file under a folder, in the order of their paths.

    Hidden files and folders are skipped, links are followed. JSON Lines and Parquet give one document per row under its
    own id; text, Markdown, reStructuredText and HTML are split into passages named path#1, path#2 and so on. Your own
    splitter splits every text, rows included. Reading raises InputError, naming file:line, for what cannot be read.
    """

    path: Path
    splitter: TextSplitter | None = None
    max_words: int = _MAX_WORDS

    def __iter__(self) -> Iterator[Document]:
        if self.path.is_dir():
            for path in _files_below(self.path, set()):
                if path.suffix.lower() in SUFFIXES:
                    yield from self._file(path, path.relative_to(self.path).as_posix())
        elif not self.path.is_file():
            raise InputError(f"{self.path}: no such file or folder; want documents to index")
        elif self.path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{self.path}: cannot be read; want a folder, or one of {', '.join(SUFFIXES)}")
        else:
            yield from self._file(self.path, self.path.name)

    def _file(self, path: Path, name: str) -> Iterator[Document]:
        suffix = path.suffix.lower()
        if suffix not in _ROW_READERS:
            text = _read_text(path)
            yield from self._passages(html_to_text(text) if suffix in _HTML else text, name, {"path": name})
            return
        for document in _ROW_READERS[suffix](path):
            if self.splitter is None:
                yield document
            else:
                yield from self._passages(document.content, document.id, document.metadata)

    def _passages(self, text: str, name: str, metadata: Mapping[str, Any]) -> Iterator[Document]:
        if self.splitter is not None:
            for number, chunk in enumerate(self.splitter.split_text(text), start=1):
                yield Document(f"{name}#{number}", chunk, dict(metadata))
            return
        for number, passage in enumerate(split_passages(text, max_words=self.max_words), start=1):
            yield Document(f"{name}#{number}", passage.content, {**metadata, "heading": " > ".join(passage.heading)})


def _files_below(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files below a folder in the order of their paths, hidden ones skipped; links are followed, each once.

    Raises InputError for a folder that cannot be listed: its documents must not be taken for deleted.
    """
    try:
        identity = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}); give access to it, or move it away"
        ) from error
    if (identity.st_dev, identity.st_ino) in visited:
        return
    visited.add((identity.st_dev, identity.st_ino))
    for path in entries:
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_below(path, visited)
        elif path.is_file():
            yield path


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give access to it") from error


def _read_parquet(path: Path) -> Iterator[Document]:
    """Yield the rows of a Parquet file as documents, as read_jsonl_documents does for lines."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet") from error
    try:
        number = 0
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _row_document(row, where=f"{path}: row {number}")
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: not Parquet ({error}); want columns id and content") from error


def _row_document(row: dict[str, Any], *, where: str) -> Document:
    identity, content = row.pop("id", None), row.pop("content", None)
    if not isinstance(identity, str) or not identity:
        raise InputError(f"{where}: id is {identity!r}; want a column of non-empty strings")
    if not isinstance(content, str):
        raise InputError(f"{where}: content of {identity!r} is {content!r}; want a column of strings")
    return Document(identity, content, {name: value for name, value in row.items() if value is not None})


_ROW_READERS: Mapping[str, Callable[[Path], Iterator[Document]]] = {
    ".jsonl": read_jsonl_documents,
    ".parquet": _read_parquet,
}
_HTML = frozenset({".html", ".htm", ".xhtml"})
SUFFIXES = (".htm", ".html", ".jsonl", ".markdown", ".md", ".parquet", ".rst", ".txt", ".xhtml")
"""The files that are read; others in a folder are skipped."""


def load_splitter(name: str, settings: Mapping[str, Any]) -> TextSplitter:
    """Make the text splitter "module:Class" with settings, such as langchain_text_splitters:MarkdownTextSplitter.

    Raises InputError for a module or class that is not there, settings that it refuses, and what cannot split text.
    """
    module, _, member = name.partition(":")
    try:
        made = getattr(import_module(module), member)(**settings)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0].replace("_", "-")
        raise InputError(
            f"splitter {name!r}: {error}; want module:Class, and its package installed: pip install {package}?"
        ) from error
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"splitter {name!r} cannot be created with {dict(settings)} ({error}); want module:Class and its settings, "
            "such as llama_index.core.node_parser:SentenceSplitter with chunk_size"
        ) from error
    if not callable(getattr(made, "split_text", None)):
        raise InputError(f"splitter {name!r} has no split_text; want a text splitter of LangChain or LlamaIndex")
    splitter: TextSplitter = made
    return splitter
