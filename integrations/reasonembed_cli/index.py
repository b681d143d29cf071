"""`reasonembed index`: index files into a folder that can be searched."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from reasonembed_cli.indexing_progress import indexing_progress
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_rag import EmbeddingSpec
    from reasonembed_rag.encoder import EncoderSettings, SharedEncoder
    from reasonembed_rag.protocols import Embedder
    from reasonembed_stores import Deletion, IndexReport, TextSplitter

__all__ = ["index_command"]

_SOME_BAD = 1
"""Exit code where files could not be read, and the others were indexed."""
VectorDtype = Literal["float32", "float16"]
AnnKind = Literal["auto", "flat", "hnsw", "ivf"]
_Value = TypeVar("_Value")
_READING = "Reading files"
_RUN = "Runs"
_STORE = "A new index"


def index_command(  # noqa: PLR0913 - each is an option of the command
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCES...", help="Files, folders and globs; 'docs/**/*.md' in quotes.", show_default=False
        ),
    ] = None,
    *,
    to: Annotated[Path, typer.Option("--to", "-o", help="The index folder: created, or brought up to date.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A model folder, a Hugging Face id, 'default' or 'default-large'; by default the index's own.",
            show_default=False,
        ),
    ] = None,
    sync: Annotated[
        bool,
        typer.Option("--sync", help="Delete documents that the sources no longer have.", rich_help_panel=_RUN),
    ] = False,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Let --sync delete more than a tenth without asking.", rich_help_panel=_RUN),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Stop at the first file that cannot be read, and write nothing.", rich_help_panel=_RUN
        ),
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(help="A folder of vectors by content, for indexes built anew.", rich_help_panel=_RUN),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Load what `reasonembed encode-corpus` wrote there, in place of sources.",
            rich_help_panel=_READING,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=_RUN)] = False,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Read only files that match, as in .gitignore.", rich_help_panel=_READING),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Leave out files and folders that match.", rich_help_panel=_READING),
    ] = None,
    gitignore: Annotated[
        bool,
        typer.Option("--gitignore", help="Leave out what .gitignore files name.", rich_help_panel=_READING),
    ] = False,
    passage_tokens: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a passage, headings included; by default what the model reads well, at most 256.",
            rich_help_panel=_READING,
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[
        int, typer.Option(help="Tokens that a passage repeats from the one before.", rich_help_panel=_READING)
    ] = 0,
    whole_rows: Annotated[
        bool,
        typer.Option(
            "--whole-rows", help="Keep long rows of tables whole; the model truncates them.", rich_help_panel=_READING
        ),
    ] = False,
    text_columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A column that is the text of rows; repeat it for several.", rich_help_panel=_READING
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of ids of rows.", rich_help_panel=_READING)
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="The encoding of text files that do not declare one.", rich_help_panel=_READING),
    ] = None,
    splitter: Annotated[
        str | None,
        typer.Option(
            help="Split texts with module:Class, of LangChain or LlamaIndex, not into passages under headings.",
            rich_help_panel=_READING,
        ),
    ] = None,
    splitter_settings: Annotated[
        str,
        typer.Option(
            metavar="JSON",
            help="The splitter's arguments, such as '{\"chunk_size\": 400}'.",
            rich_help_panel=_READING,
        ),
    ] = "{}",
    enrich: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="A chat model writes what helps to find each passage: its name, or a TOML file with a table [chat].",
            rich_help_panel=_RUN,
        ),
    ] = None,
    dtype: Annotated[
        VectorDtype | None,
        typer.Option(
            help="How it stores vectors: float32, or float16 in half the space.",
            show_default=False,
            rich_help_panel=_STORE,
        ),
    ] = None,
    ann: Annotated[
        AnnKind | None,
        typer.Option(
            help="Its ANN index: auto depends on its size, flat searches exactly.",
            show_default=False,
            rich_help_panel=_STORE,
        ),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Do not write the words' BM25 index, which spares a search from building it."),
    ] = False,
    codes: Annotated[VectorDtype | None, typer.Option(hidden=True)] = None,
    structure: Annotated[AnnKind | None, typer.Option(hidden=True)] = None,
) -> None:
    """Index documents: texts as passages under their headings, tables as one document per row.

    A second run reads only files that changed, embeds only new contents, and resumes an interrupted run. The exit code
    is 1 where some files could not be read.

    reasonembed index docs/ notes/ --to docs.index
    """
    from reasonembed_readers import ReadOptions
    from reasonembed_stores import FileCorpus, ListingOptions, build_index, keep_bm25

    if vectors is not None:
        if sources or sync or enrich:
            raise InputError("--vectors is in place of sources, --sync and --enrich; leave these out")
        _index_vectors(vectors, to, model, dtype=dtype, ann=ann, plain=plain)
        return
    if not sources:
        raise InputError("no sources; want files, folders or globs, or --vectors FOLDER")
    corpus = FileCorpus(
        sources,
        splitter=_splitter(splitter, splitter_settings),
        passage_tokens=passage_tokens,
        overlap=overlap,
        whole_rows=whole_rows,
        listing=ListingOptions(tuple(include or ()), tuple(exclude or ()), gitignore),
        reading=ReadOptions(tuple(text_columns or ()), id_column, encoding),
        strict=strict,
    )
    corpus.sources()
    dtype = dtype or _deprecated("--codes", codes, new="--dtype")
    ann = ann or _deprecated("--structure", structure, new="--ann")
    if (dtype or ann) and (to / "manifest.json").is_file():
        raise InputError(f"--dtype and --ann are for a new index, and {to} exists already; leave them out")
    if enrich is not None:
        from reasonembed_cli.enriching import enriching_chat

        access = enriching_chat(enrich)
    else:
        access = None
    encoder = _encoder(to, model, cache=cache)
    with indexing_progress() as progress:

        def may_delete(deletion: Deletion) -> bool:
            if yes or not sys.stdin.isatty():
                return yes
            with progress.paused():
                return typer.confirm(f"Delete {deletion}?", err=True)

        report = build_index(
            corpus,
            to,
            encoder,
            sync=sync,
            on_delete=may_delete,
            dtype=dtype,
            ann=ann,
            on_progress=progress.on_progress,
            on_message=progress.on_message,
            enrich=access,
        )
        if not plain:
            keep_bm25(to, on_message=progress.on_message)
    _print(report, to, as_json=as_json)


def _index_vectors(
    folder: str, to: Path, model: str | None, *, dtype: VectorDtype | None, ann: AnnKind | None, plain: bool
) -> None:
    """Load shards of vectors, checked against a model where one is named."""
    from reasonembed_cli.progress import progress_of
    from reasonembed_rag.backbone import read_spec
    from reasonembed_rag.encoder import EncoderSettings
    from reasonembed_rag.scale import VectorShards
    from reasonembed_stores import index_vectors, keep_bm25

    shards = VectorShards(folder)
    if model is not None:
        shards.check_spec(read_spec(EncoderSettings(model=model)))
    with progress_of("Loading vectors") as (progress,):
        count = index_vectors(shards, to, dtype=dtype, ann=ann, on_progress=progress)
    if not plain:
        keep_bm25(to)
    typer.echo(f"documents: {count:,} loaded")
    typer.echo(f'search with: reasonembed search {to} "your question"')


def _print(report: IndexReport, to: Path, *, as_json: bool) -> None:
    """Print the summary; exits with 1 where files could not be read."""
    bad = report.files.bad if report.files is not None else ()
    if as_json:
        typer.echo(json.dumps({"index": str(to), **asdict(report)}, ensure_ascii=False, indent=2))
    else:
        typer.echo(report)
        typer.echo(f'search with: reasonembed search {to} "your question"')
    if bad:
        several = "1 file" if len(bad) == 1 else f"{len(bad):,} files"
        typer.echo(f"error: {several} could not be read; the others are indexed", err=True)
        raise typer.Exit(_SOME_BAD)


def _encoder(to: Path, model: str | None, *, cache: Path | None) -> SharedEncoder:
    """Return the encoder of an index, loaded at its first use; raises SpecMismatchError for another model's index."""
    from reasonembed_rag.encoder import EncoderSettings, shared_encoder
    from reasonembed_stores import index_spec

    spec = index_spec(to) if (to / "manifest.json").is_file() else None
    if spec is None:
        return shared_encoder(EncoderSettings(model=model or "default", cache=cache))
    settings = EncoderSettings(model=spec.model, revision=spec.revision, adapter=spec.adapter, cache=cache)
    if model is not None and model != spec.model:
        settings = EncoderSettings(model=model, cache=cache)
        _check_model(to, settings)
    return _truncated(settings, spec)


def _check_model(to: Path, settings: EncoderSettings) -> None:
    """Raise SpecMismatchError unless a model, which may have moved, is the index's own; no weights are loaded."""
    from reasonembed_rag.backbone import read_spec
    from reasonembed_stores import FaissStore

    spec = read_spec(settings)
    with FaissStore.open(to) as store:
        store.check_spec(replace(spec, dimension=min(spec.dimension, store.dimension or spec.dimension)))


def _truncated(settings: EncoderSettings, spec: EmbeddingSpec) -> SharedEncoder:
    """Return an encoder whose vectors are as long as those of an index."""
    from reasonembed_rag.encoder import SharedEncoder, shared_encoder

    def load() -> Embedder:
        encoder = shared_encoder(settings)
        if spec.dimension < encoder.dimension:
            encoder = shared_encoder(replace(settings, truncate_dim=spec.dimension))
        return encoder.embedder

    return SharedEncoder(load, settings=settings)


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
