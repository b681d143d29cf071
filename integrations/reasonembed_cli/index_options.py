"""The options of `reasonembed index`: how files are read, what a run may do, and how a new index is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import typer

from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_stores import FileCorpus, TextSplitter

__all__ = ["IndexRunOptions", "NewIndexOptions", "ReadingOptions", "VectorDtype"]

VectorDtype = Literal["float32", "float16"]
_AnnKind = Literal["auto", "flat", "hnsw", "ivf"]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRunOptions:
    """What a run may do."""

    panel: ClassVar[str] = "Runs"
    sync: Annotated[
        bool,
        typer.Option("--sync", help="Delete documents that the sources no longer have."),
    ] = False
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Let --sync delete more than a tenth without asking."),
    ] = False
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first file that cannot be read, and write nothing."),
    ] = False
    cache: Annotated[
        Path | None,
        typer.Option(help="A folder of vectors by content, for indexes built anew."),
    ] = None
    enrich: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A chat model writes what helps to find each passage: its name, or a TOML file with a table [chat].",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingOptions:
    """How files are read and split."""

    panel: ClassVar[str] = "Reading files"
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Read only files that match, as in .gitignore."),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out files and folders that match."),
    ] = None
    gitignore: Annotated[
        bool,
        typer.Option("--gitignore", help="Leave out what .gitignore files name."),
    ] = False
    passage_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a passage, headings included; by default what the model reads well, at most 256.",
            show_default=False,
        ),
    ] = None
    overlap: Annotated[int, typer.Option(help="Tokens that a passage repeats from the one before.")] = 0
    whole_rows: Annotated[
        bool,
        typer.Option("--whole-rows", help="Keep long rows of tables whole; the model truncates them."),
    ] = False
    text_columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A column that is the text of rows; repeat it for several."),
    ] = None
    id_column: Annotated[str | None, typer.Option(metavar="NAME", help="The column of ids of rows.")] = None
    encoding: Annotated[
        str | None,
        typer.Option(help="The encoding of text files that do not declare one."),
    ] = None
    splitter: Annotated[
        str | None,
        typer.Option(
            help="Split texts with module:Class, of LangChain or LlamaIndex, not into passages under headings.",
        ),
    ] = None
    splitter_settings: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help="The splitter's arguments, such as '{\"chunk_size\": 400}'.",
        ),
    ] = "{}"

    def corpus(self, sources: Sequence[str], *, strict: bool) -> FileCorpus:
        """Return the documents of the sources; raises InputError for one that does not exist."""
        from reasonembed_readers import ReadOptions
        from reasonembed_stores import FileCorpus, ListingOptions

        corpus = FileCorpus(
            sources,
            splitter=_splitter(self.splitter, self.splitter_settings),
            passage_tokens=self.passage_tokens,
            overlap=self.overlap,
            whole_rows=self.whole_rows,
            listing=ListingOptions(tuple(self.include or ()), tuple(self.exclude or ()), self.gitignore),
            reading=ReadOptions(tuple(self.text_columns or ()), self.id_column, self.encoding),
            strict=strict,
        )
        corpus.sources()
        return corpus


@dataclass(frozen=True, slots=True, kw_only=True)
class NewIndexOptions:
    """How a new index is stored."""

    panel: ClassVar[str] = "A new index"
    dtype: Annotated[
        VectorDtype | None,
        typer.Option(
            help="How it stores vectors: float32, or float16 in half the space.",
            show_default=False,
        ),
    ] = None
    ann: Annotated[
        _AnnKind | None,
        typer.Option(
            help="Its ANN index: auto depends on its size, flat searches exactly.",
            show_default=False,
        ),
    ] = None
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Do not write the words' BM25 index, which spares a search from building it."),
    ] = False
    codes: Annotated[VectorDtype | None, typer.Option(hidden=True)] = None
    structure: Annotated[_AnnKind | None, typer.Option(hidden=True)] = None

    def of(self, index: Path) -> tuple[VectorDtype | None, _AnnKind | None]:
        """Return dtype and ANN index of a new index; raises InputError where one is named for an index that exists."""
        dtype = self.dtype or _deprecated("--codes", self.codes, new="--dtype")
        ann = self.ann or _deprecated("--structure", self.structure, new="--ann")
        if (dtype or ann) and (index / "manifest.json").is_file():
            raise InputError(f"--dtype and --ann are for a new index, and {index} exists already; leave them out")
        return dtype, ann


def _deprecated(old: str, value: _Value, *, new: str) -> _Value:
    """Return the value of a deprecated option, with a warning if it was given."""
    if value is not None:
        from reasonembed_rag.deprecation import warn_deprecated

        warn_deprecated(old, new, category=FutureWarning)
    return value


def _splitter(name: str | None, settings: str) -> TextSplitter | None:
    from reasonembed_stores import load_splitter

    try:
        values: Any = json.loads(settings)
    except json.JSONDecodeError as error:
        raise InputError(f"--splitter-settings is {settings!r}: not JSON ({error.msg}); want an object") from error
    if not isinstance(values, dict):
        raise InputError(f"--splitter-settings is {settings!r}; want a JSON object")
    if name is None:
        if values:
            raise InputError("--splitter-settings needs --splitter; name one, or leave the settings out")
        return None
    return load_splitter(name, values)
