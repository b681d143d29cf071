"""`reasonembed index`: index files into a folder that can be searched."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reasonembed_cli.index_model import encoder_of_index
from reasonembed_cli.index_options import IndexRunOptions, NewIndexOptions, ReadingOptions
from reasonembed_cli.indexing_progress import indexing_progress
from reasonembed_cli.option_groups import with_options
from reasonembed_cli.showing import JsonOption
from reasonembed_rag.errors import InputError

if TYPE_CHECKING:
    from reasonembed_stores import Deletion, IndexReport

__all__ = ["index_command"]

_SOME_BAD = 1
"""Exit code where files could not be read, and the others were indexed; or where no document could be enriched."""


@with_options
def index_command(
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
    vectors: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Load what `reasonembed encode-corpus` wrote there, in place of sources.",
            rich_help_panel="Reading files",
        ),
    ] = None,
    run: IndexRunOptions,
    reading: ReadingOptions,
    new: NewIndexOptions,
    as_json: JsonOption = False,
) -> None:
    """Index documents: texts as passages under their headings, tables as one document per row.

    A second run reads only files that changed, embeds only new contents, and resumes an interrupted run. The exit code
    is 1 where some files could not be read, or --enrich got no usable answer at all.

    reasonembed index docs/ notes/ --to docs.index
    """
    if vectors is not None:
        if sources or run.sync or run.enrich:
            raise InputError("--vectors is in place of sources, --sync and --enrich; leave these out")
        _index_vectors(vectors, to, model, new)
        return
    if not sources:
        raise InputError("no sources; want files, folders or globs, or --vectors FOLDER")
    report = _index_files(sources, to, model, run=run, reading=reading, new=new)
    _print(report, to, as_json=as_json)


def _index_files(
    sources: list[str],
    to: Path,
    model: str | None,
    *,
    run: IndexRunOptions,
    reading: ReadingOptions,
    new: NewIndexOptions,
) -> IndexReport:
    """Bring an index up to date with files; deletions of more than a tenth are asked about first."""
    from reasonembed_stores import build_index, keep_bm25

    corpus = reading.corpus(sources, strict=run.strict)
    dtype, ann = new.of(to)
    enrich = None
    if run.enrich is not None:
        from reasonembed_cli.enriching import enriching_chat

        enrich = enriching_chat(run.enrich)
    encoder = encoder_of_index(to, model, cache=run.cache)
    with indexing_progress() as progress:

        def may_delete(deletion: Deletion) -> bool:
            if run.yes or not sys.stdin.isatty():
                return run.yes
            with progress.paused():
                return typer.confirm(f"Delete {deletion}?", err=True)

        report = build_index(
            corpus,
            to,
            encoder,
            sync=run.sync,
            on_delete=may_delete,
            dtype=dtype,
            ann=ann,
            on_progress=progress.on_progress,
            on_message=progress.on_message,
            enrich=enrich,
        )
        if not new.plain:
            keep_bm25(to, on_message=progress.on_message)
    return report


def _index_vectors(folder: str, to: Path, model: str | None, new: NewIndexOptions) -> None:
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
        count = index_vectors(shards, to, dtype=new.dtype, ann=new.ann, on_progress=progress)
    if not new.plain:
        keep_bm25(to)
    typer.echo(f"documents: {count:,} loaded")
    typer.echo(f'search with: reasonembed search {to} "your question"')


def _print(report: IndexReport, to: Path, *, as_json: bool) -> None:
    """Print the summary; exits with 1 where files could not be read, or where a chat model gave no usable answer."""
    bad = report.files.bad if report.files is not None else ()
    if as_json:
        typer.echo(json.dumps({"index": str(to), **asdict(report)}, ensure_ascii=False, indent=2))
    else:
        typer.echo(report)
        typer.echo(f'search with: reasonembed search {to} "your question"')
    if bad:
        several = "1 file" if len(bad) == 1 else f"{len(bad):,} files"
        typer.echo(f"error: {several} could not be read; the others are indexed", err=True)
    asked = report.enrichment
    is_without_answers = asked is not None and asked.is_without_answers
    if asked is not None and is_without_answers:
        why = "" if asked.last_failure is None else f" (the last failure: {asked.last_failure})"
        typer.echo(
            f"error: the chat model gave no usable answer{why}; all {asked.alone:,} contents that it was asked about "
            "are indexed by their own text alone: mend the cause, and run the same command again to ask anew",
            err=True,
        )
    if bad or is_without_answers:
        raise typer.Exit(_SOME_BAD)
