"""FileCorpus: the documents of files, and how they are read and split."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

from reasonembed_rag import __version__
from reasonembed_rag.documents import Document
from reasonembed_rag.errors import InputError
from reasonembed_readers import PassedOver, ReadOptions, file_kind, read_file
from reasonembed_stores.file_listing import list_sources
from reasonembed_stores.ignoring import ListingOptions
from reasonembed_stores.sources import Source, name_as_text, parse_sources, with_prefixes
from reasonembed_stores.splitting import FileSplitter, TextSplitter

__all__ = ["Corpus", "FileCorpus", "load_splitter"]

_MAX_WORDS = 160


class Corpus(Protocol):
    """Documents that can be read more than once, always in the same order."""

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents."""


@dataclass(frozen=True, slots=True)
class FileCorpus:
    """The documents of files, of every readable file below folders, and of globs, in the order of their names.

    Hidden files and folders are skipped; links are followed, each file is read once. Rows of tables are documents under
    their own ids; other texts are split into passages named path#1, path#2 and so on. Iterating splits by words and
    raises InputError, naming file:line, for the first file that cannot be read. build_index splits by the tokens of its
    model unless max_words or a splitter of yours is given, skips files that cannot be read unless `strict`, and reads
    again only what changed.
    """

    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
    splitter: TextSplitter | None = None
    """Splits every text, rows included: a text splitter of LangChain, a node parser of LlamaIndex, or your own.

    build_index reads every file in every run, as it cannot know the splitter's settings, unless it is a dataclass.
    """
    max_words: int | None = None
    """Words of a passage, headings not counted; 160 where words are counted and nothing is given."""
    passage_tokens: int | None = None
    """Tokens of a passage with its headings; by default four fifths of what the model reads and at most 256."""
    overlap: int = 0
    """Tokens that a passage repeats from the one before."""
    whole_rows: bool = False
    """Whether rows that are longer than the model reads stay one document, which it truncates."""
    listing: ListingOptions = field(default_factory=ListingOptions)
    reading: ReadOptions = field(default_factory=ReadOptions)
    strict: bool = False
    """Whether build_index stops at the first file that cannot be read, instead of skipping it."""

    def __post_init__(self) -> None:
        given = {
            "splitter": self.splitter is not None,
            "max_words": self.max_words is not None,
            "passage_tokens and overlap": self.passage_tokens is not None or self.overlap != 0,
        }
        if sum(given.values()) > 1:
            names = " and ".join(name for name, is_given in given.items() if is_given)
            raise InputError(f"got {names}; want one way to split texts")
        if self.words < 1:
            raise InputError(f"max_words is {self.max_words}; want at least 1")

    def __iter__(self) -> Iterator[Document]:
        splitter = FileSplitter.by_chunks(self.splitter) if self.splitter else FileSplitter.by_words(self.words)
        sources = self.sources()
        prefixes = with_prefixes(sources, remembered=(), known=())
        passed_over: dict[str, PassedOver] = {}
        is_empty = True
        for source, found in list_sources(sources, self.listing).items():
            for name, reason in found.unreachable.items():
                if name not in found.broken:
                    raise InputError(reason)
            for below, file in found.files.items():
                name = prefixes[source.root] + name_as_text(below)
                kind = file_kind(file.path)
                if isinstance(kind, PassedOver):
                    passed_over[name] = kind
                    continue
                for one in splitter.documents(read_file(file.path, options=self.reading), name):
                    is_empty = False
                    yield one.document
        if is_empty and passed_over:
            raise self.no_document(passed_over)

    def sources(self) -> tuple[Source, ...]:
        """Return the folders, files and globs; raises InputError for a path where nothing is."""
        return parse_sources(self.paths)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths and globs as they were given."""
        paths = [self.path] if isinstance(self.path, str | os.PathLike) else self.path
        return tuple(os.fspath(path) for path in paths)

    @property
    def words(self) -> int:
        """The words of a passage, where words are counted."""
        return _MAX_WORDS if self.max_words is None else self.max_words

    def recipe(self) -> str | None:
        """Return what, beside the bytes of a file, determines its documents; None if that is not known."""
        if self.splitter is None:
            splitter = repr((self.max_words, self.passage_tokens, self.overlap, self.whole_rows))
        elif dataclasses.is_dataclass(type(self.splitter)):
            splitter = repr(self.splitter)
        else:
            return None
        return json.dumps([__version__, splitter, dataclasses.asdict(self.reading)], default=repr)

    def no_document(self, passed_over: Mapping[str, PassedOver]) -> InputError:
        """Return the error for sources without a document."""
        name, first = next(iter(passed_over.items()), ("", None))
        told = f"; passed over {len(passed_over):,}, such as {name}: {first.reason}" if first is not None else ""
        chosen = "" if self.listing == ListingOptions() else " that include, exclude and gitignore choose"
        return InputError(
            f"{', '.join(self.paths)}: has no document{told}; want files{chosen} with text, such as .md and .jsonl"
        )


@dataclass(frozen=True, slots=True)
class _LoadedSplitter:
    """A text splitter that is made anew from its name and settings."""

    name: str
    settings: str
    made: TextSplitter = field(repr=False, compare=False)

    def split_text(self, text: str) -> Sequence[str]:
        """Return the chunks of a text."""
        return self.made.split_text(text)


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
    return _LoadedSplitter(name, json.dumps(dict(settings), sort_keys=True, default=repr), made)
