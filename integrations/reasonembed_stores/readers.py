"""Stream corpora from disk: JSON Lines, Parquet, and folders of text, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_rag.passages import split_passages
from reasonembed_readers import SUFFIXES, PassedOver, file_kind, read_file

__all__ = ["Corpus", "FileCorpus", "TextSplitter", "load_splitter"]

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
                if not isinstance(file_kind(path), PassedOver):
                    yield from self._file(path, path.relative_to(self.path).as_posix())
        elif not self.path.is_file():
            raise InputError(f"{self.path}: no such file or folder; want documents to index")
        elif isinstance(kind := file_kind(self.path), PassedOver):
            raise InputError(f"{self.path}: {kind.reason}; want a folder, or one of {', '.join(SUFFIXES)}")
        else:
            yield from self._file(self.path, self.path.name)

    def _file(self, path: Path, name: str) -> Iterator[Document]:
        for part in read_file(path):
            if part.id is None:
                yield from self._passages(part.text, name, {"path": name})
            elif self.splitter is None:
                yield Document(part.id, part.text, part.metadata)
            else:
                yield from self._passages(part.text, part.id, part.metadata)

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
